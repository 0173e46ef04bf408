"""Questions to a chat server, and what its answers mean. No Lightning here."""
