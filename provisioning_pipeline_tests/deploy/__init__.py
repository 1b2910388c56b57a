"""What is shipped for running this: the image, compose.yaml."""
