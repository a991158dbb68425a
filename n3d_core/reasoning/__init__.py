"""Relations computed from boxes, questions and answers about them, and the audit of a model's answer."""
