"""Proof, on a server that an operator names, that everything this program relies on holds there.

`certify` is the whole of it; `trial` has what is made there, `behaviours` say what is looked at, `life`, `ending` and
`killed` cut the life of a `tenant` at its calls, `clean` removes what was made, and `clerk` looks at a Clerk instance.
"""
