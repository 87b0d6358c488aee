"""Lessons: claims of introductory articles, each measured by one command."""

from __future__ import annotations

from typing import Any

from seqvae.experiments.lessons import code_size, few_labels, holes, memorising, radius, restoring, two_dims
from seqvae.experiments.lessons.runner import Lesson, LessonArgs, LessonResult, run_lesson

# in didactic order
LESSON_MODULES: tuple[Lesson, ...] = (memorising, holes, restoring, code_size, few_labels, radius, two_dims)
LESSONS: dict[str, Lesson] = {lesson.NAME: lesson for lesson in LESSON_MODULES}


def lesson_rows() -> list[dict[str, Any]]:
    """Name, description, year and paper of each lesson."""
    keys = ("name", "about", "year", "paper")
    return [{key: getattr(lesson, key.upper()) for key in keys} for lesson in LESSONS.values()]


__all__ = ["LESSONS", "Lesson", "LessonArgs", "LessonResult", "lesson_rows", "run_lesson"]
