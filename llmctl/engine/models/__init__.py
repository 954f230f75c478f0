"""What is known of models, and what people call them."""
