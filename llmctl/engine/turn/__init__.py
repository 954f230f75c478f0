"""One turn: begin, call the model, record, run tools, finish."""
