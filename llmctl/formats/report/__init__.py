"""The report: one HTML page that needs nothing else. Values become geometry and words here, HTML in the templates."""
