"""No member sees a wizard: a repair by hand, real logins every day, and what both leave to look at."""
