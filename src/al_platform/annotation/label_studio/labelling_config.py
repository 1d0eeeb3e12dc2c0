"""What annotators see: a labelling configuration made from a family's taxonomy.

Pages are hostile. Title and text are shown by tags that show text only; the one tag that reads HTML gets a link that
``tasks`` has escaped.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias
from xml.sax.saxutils import quoteattr

from al_platform.domain.errors import ConfigError
from al_platform.domain.taxonomy import Taxonomy

CONTROL = "label"
_SHOWN = "text"
_TREE = "taxonomy"
# Nobody should have to scroll past a long page to find the labels.
_STAYS_IN_SIGHT = "position: sticky; top: 0; z-index: 1; background: var(--color-neutral-background, white)"
_READS_WELL = "max-width: 50em"

# XML 1.0 has no way to spell these.
_UNSPEAKABLE = re.compile(r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Tree: TypeAlias = dict[str, "Tree"]
Region: TypeAlias = dict[str, Any]


def labelling_config(taxonomy: Taxonomy, tree_separator: str | None) -> str:
    """Return the configuration of a project: URL, title and text of a page, and the labels to choose from.

    Raises:
        ConfigError: A label cannot be shown.
    """
    for label in taxonomy.labels:
        _require_showable(label)
    control = _flat(taxonomy) if tree_separator is None else _tree(taxonomy, tree_separator)
    return (
        "<View>\n"
        '  <HyperText name="link" value="$link" valueType="text" clickableLinks="true"/>\n'
        '  <Header value="$title" size="4"/>\n'
        f'  <View style="{_STAYS_IN_SIGHT}">\n{control}  </View>\n'
        f'  <View style="{_READS_WELL}"><Text name="{_SHOWN}" value="$text" valueType="text"/></View>\n'
        "</View>\n"
    )


def shown_labels(taxonomy: Taxonomy, tree_separator: str | None) -> list[str]:
    """Return the names of all choices as the server lists them: of a tree, those of its nodes."""
    if tree_separator is None:
        return list(taxonomy.labels)
    return list(_nodes(_tree_of(taxonomy, tree_separator)))


def region(values: Sequence[str], tree_separator: str | None) -> Region:
    """Return an answer as the server stores it."""
    where = {"from_name": CONTROL, "to_name": _SHOWN}
    if tree_separator is None:
        return {**where, "type": "choices", "value": {"choices": list(values)}}
    return {**where, "type": _TREE, "value": {_TREE: [value.split(tree_separator) for value in values]}}


def spelled_flat(result: Any, tree_separator: str | None) -> Any:
    """Return the regions of an answer with those of a tree as choices; what is no such region stays as it is."""
    if not isinstance(result, list) or tree_separator is None:
        return result
    return [_flattened(each, tree_separator) for each in result]


def _flattened(found: Any, tree_separator: str) -> Any:
    if not isinstance(found, Mapping) or found.get("type") != _TREE or not isinstance(found.get("value"), Mapping):
        return found
    paths = found["value"].get(_TREE)
    if not isinstance(paths, list) or not all(_is_path(path) for path in paths):
        return found
    return {**found, "type": "choices", "value": {"choices": [tree_separator.join(path) for path in paths]}}


def _is_path(path: Any) -> bool:
    return isinstance(path, list) and all(isinstance(name, str) for name in path)


def _require_showable(label: str) -> None:
    if _UNSPEAKABLE.search(label):
        raise ConfigError(f"The label {label!r} holds a character that no XML can hold. Rename it in the taxonomy.")
    if label.startswith("$"):
        raise ConfigError(f"The label {label!r} begins as a variable of Label Studio does. Rename it in the taxonomy.")


def _flat(taxonomy: Taxonomy) -> str:
    how = 'choice="multiple"' if taxonomy.is_multi else 'choice="single" required="true"'
    how += ' showInline="true"'
    choices = "".join(f"    <Choice value={quoteattr(label)}/>\n" for label in taxonomy.labels)
    return f'  <Choices name="{CONTROL}" toName="{_SHOWN}" {how}>\n{choices}  </Choices>\n'


def _tree(taxonomy: Taxonomy, separator: str) -> str:
    tree = _tree_of(taxonomy, separator)
    how = "" if taxonomy.is_multi else ' maxUsages="1" required="true"'
    # A node may be chosen only where every node that has others below it is a label itself.
    leaf_only = ' leafOnly="true"' if set(_inner(tree, separator)) - set(taxonomy.labels) else ""
    choices = "".join(_choice_lines(tree, "    "))
    return f'  <Taxonomy name="{CONTROL}" toName="{_SHOWN}"{how}{leaf_only}>\n{choices}  </Taxonomy>\n'


def _tree_of(taxonomy: Taxonomy, separator: str) -> Tree:
    tree: Tree = {}
    for label in taxonomy.labels:
        node = tree
        for name in label.split(separator):
            if not name:
                raise ConfigError(f"The label {label!r} has a level without a name, as {separator!r} separates levels.")
            node = node.setdefault(name, {})
    return tree


def _inner(tree: Tree, separator: str, above: str = "") -> Iterable[str]:
    for name, below in tree.items():
        if below:
            yield above + name
            yield from _inner(below, separator, above + name + separator)


def _nodes(tree: Tree) -> Iterable[str]:
    for name, below in tree.items():
        yield name
        yield from _nodes(below)


def _choice_lines(tree: Tree, indent: str) -> Iterable[str]:
    for name, below in tree.items():
        if not below:
            yield f"{indent}<Choice value={quoteattr(name)}/>\n"
            continue
        yield f"{indent}<Choice value={quoteattr(name)}>\n"
        yield from _choice_lines(below, indent + "  ")
        yield f"{indent}</Choice>\n"
