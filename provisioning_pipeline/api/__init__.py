"""The HTTP door: thin, over the layers below."""
