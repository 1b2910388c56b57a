"""Proof, on a server that an operator names, that everything this program relies on holds there.

`certify` is the whole of it; `trial` has what is made there, `behaviours` say what is looked at, `life` and `killed`
cut a tenant's life at every call, `clean` removes what was made, and `clerk` looks at a Clerk instance.
"""
