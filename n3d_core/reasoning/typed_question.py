"""Another name of `question`, until nothing imports it."""

from n3d_core.reasoning.question import (
    CAMERA_PHRASE,
    Form,
    NotUnderstood,
    Phrase,
    Pick,
    Question,
    QuestionType,
    Relation,
    Where,
)

__all__ = ["CAMERA_PHRASE", "Form", "NotUnderstood", "Phrase", "Pick", "Question", "QuestionType", "Relation", "Where"]
