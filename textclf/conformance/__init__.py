from textclf.conformance.check import Check, check_method

__all__ = ["Check", "check_method"]
