"""Requests to a chat server, and the classes that its answers mean; independent of Lightning."""
