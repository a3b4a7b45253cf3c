"""Know who asks: keys with names, what each may do, and how much of it."""
