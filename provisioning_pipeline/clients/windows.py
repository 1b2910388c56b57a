"""How calls are spread over the windows in which a system counts them."""

WINDOW_SECONDS = 10.0
BURST = 0.4
"""Share of the allowance that may be sent at once; the rest trickles in over the window.

A window begins with a full burst at worst, so burst and trickle together are the allowance. At 0.4, Clerk's whole
fleet of 100,000 memberships (about 320 calls of 800) never waits, and a longer run still gets 60% of the allowance.
"""

GOOD_FOR_SECONDS = 1.0
"""A call that was due for longer may not be sent any more, and has to be taken anew: others go out by now."""
