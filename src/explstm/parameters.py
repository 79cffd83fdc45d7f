"""Constructor arguments as scikit-learn wants them, without scikit-learn.

Contract: a class stores every argument of its constructor unchanged under the argument's name, and
its constructor refuses values that cannot be used. It can then be read, changed and cloned.
"""

from inspect import signature
from typing import Any, Self

from explstm.config import refuse_unknown


class Parameters:
    """Base of a class whose constructor only stores and checks its arguments."""

    @classmethod
    def parameter_names(cls) -> tuple[str, ...]:
        """Names of the constructor's arguments."""
        return tuple(signature(cls).parameters)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments by name; ``deep`` makes no difference."""
        return {name: getattr(self, name) for name in self.parameter_names()}

    def set_params(self, **params: Any) -> Self:
        """Change constructor arguments.

        Raises:
            UsageError: An unknown name, or a value that cannot be used; nothing is changed then.
        """
        refuse_unknown(params, self.parameter_names())
        type(self)(**{**self.get_params(), **params})
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        """The arguments that differ from their defaults."""
        defaults = signature(type(self)).parameters
        changed = (
            f"{name}={value!r}"
            for name, value in self.get_params().items()
            if repr(value) != repr(defaults[name].default)
        )
        return f"{type(self).__name__}({', '.join(changed)})"
