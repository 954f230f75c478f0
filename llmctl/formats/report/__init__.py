"""The report: one self-contained HTML page. Values become geometry and text here, HTML in the templates."""
