from textclf.contract.check import Check, check_method

__all__ = ["Check", "check_method"]
