"""Names that are declared in code, once each, and that come back from outside as what was declared."""

from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from pydantic_core import CoreSchema


class Declared(str):
    """A name with all that is known of it. It is a string: what stands in the ledger or in JSON is the name alone.

    A name that nobody declared, as another version of this program may have stored it, is shown like any other, and
    nothing is known of it.

    Raises:
        ValueError: when it was declared before.
    """

    __slots__ = ()
    _declared: ClassVar[dict[str, Any]]

    def __init_subclass__(cls) -> None:
        cls._declared = {}

    def _declare(self) -> None:
        if self._declared.setdefault(str(self), self) is not self:
            raise ValueError(f"{type(self).__name__} {str(self)!r} is declared twice.")

    @classmethod
    def named(cls, name: str) -> Self:
        """What was declared under this name; else the name alone."""
        known: Self | None = cls._declared.get(name)
        return cls._undeclared(name) if known is None else known

    @classmethod
    def _undeclared(cls, name: str) -> Self:
        raise NotImplementedError

    @classmethod
    def all_declared(cls) -> tuple[Self, ...]:
        """Everything that was declared, in that order."""
        return tuple(cls._declared.values())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).named, (str(self),)

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> "CoreSchema":
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(
            cls.named, core_schema.str_schema(), serialization=core_schema.plain_serializer_function_ser_schema(str)
        )
