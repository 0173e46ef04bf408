"""Classes of the package and of its users: their dotted paths, the user's own code, and checks of subclasses."""
