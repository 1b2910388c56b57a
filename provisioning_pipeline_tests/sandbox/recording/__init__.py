"""The same calls to a real Twenty and to the stand-in: what they are, and what a real server answered to them."""
