"""The few requests to Label Studio that a labelling loop needs.

LabelStudioError
├── UnreachableError    the request did not arrive: nothing was done
├── NoAnswerError       nobody knows whether it was done, or still will be
├── FailedError         the server failed over it; it may have been done in part
└── RefusedError        the server refused it: nothing was done
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import httpx

from al_platform.annotation.label_studio.options import Access
from al_platform.domain.errors import AlPlatformError, ConfigError

Json: TypeAlias = dict[str, Any]
_Answer = TypeVar("_Answer")

_PAUSES_S = (0.5, 1, 2, 4)
_CONNECT_S = 10
_DOTS_OF_A_JWT = 2
_LISTED = 1000
_FETCHED = 200
_NEWEST_BEFORE_TOKENS = (1, 17)
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 401, 403, 404
_REDIRECT, _REFUSED, _FAILED = 300, 400, 500


class LabelStudioError(AlPlatformError):
    """The server cannot do what it was asked for."""


class UnreachableError(LabelStudioError):
    """The request did not arrive."""


class NoAnswerError(LabelStudioError):
    """The request was sent, and no answer came."""


class FailedError(LabelStudioError):
    """The server failed over the request."""


class RefusedError(LabelStudioError):
    """The server refused the request.

    Attributes:
        is_missing: Whether because there is nothing of that name.
    """

    def __init__(self, message: str, *, is_missing: bool):
        super().__init__(message)
        self.is_missing = is_missing


class Client:
    """A connection to one server. What only reads, or may be done twice, is tried several times; all else once."""

    def __init__(self, access: Access, timeout_s: float):
        self._access = access
        self._session: str | None = None
        try:
            timeout = httpx.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s))
            # No connection is kept: nothing tells a platform that it is not needed any more.
            limits = httpx.Limits(max_keepalive_connections=0)
            self._http = httpx.Client(base_url=access.url, timeout=timeout, limits=limits)
        except httpx.InvalidURL as error:
            raise ConfigError(f"Label Studio's url {access.url!r} is no address: {error}.") from error

    def require_known_version(self) -> None:
        """Raise ConfigError unless the server is a Label Studio of a kind that this client knows."""
        answer = self._again("GET", "/api/version")
        release = str(answer.get("release", "")) if isinstance(answer, dict) else ""
        numbers = tuple(int(part) for part in release.split(".")[:2] if part.isdigit())
        if len(numbers) < len(_NEWEST_BEFORE_TOKENS) or numbers[0] != 1 or numbers < _NEWEST_BEFORE_TOKENS:
            oldest = ".".join(map(str, _NEWEST_BEFORE_TOKENS))
            raise ConfigError(
                f"{self._access.url} says it is release {release or 'unknown'}; Label Studio 1 from {oldest} on is "
                f"known. Check the url, or run the release that servers/label_studio.lock names."
            )

    def projects(self) -> Iterator[Json]:
        """Yield id, title and description of every project that the token may see."""
        query = {"include": "id,title,description", "page_size": 100}
        page = 1
        while True:
            answer = self._again("GET", "/api/projects/", params={**query, "page": page})
            yield from answer["results"]
            if not answer["next"]:
                return
            page += 1

    def project(self, number: int) -> Json | None:
        """Return a project, None where there is none."""
        try:
            project: Json = self._again("GET", f"/api/projects/{number}/")
        except RefusedError as error:
            if error.is_missing:
                return None
            raise
        return project

    def create_project(self, content: Mapping[str, Any]) -> Json:
        """Make a project."""
        project: Json = self._once("POST", "/api/projects/", json=content)
        return project

    def delete_project(self, number: int) -> None:
        """Remove a project and all it holds."""
        self._again("DELETE", f"/api/projects/{number}/")

    def import_tasks(self, project: int, tasks: Sequence[Json]) -> bool:
        """Add tasks, all or none; False where the server took them and will add them later."""
        answer = self._once("POST", f"/api/projects/{project}/import", json=tasks)
        return bool(answer.get("task_count") == len(tasks))

    def list_tasks(self, project: int, batch_id: str | None = None) -> Iterator[Json]:
        """Yield id, key (``meta``), time of change and count of answers of each task, by id."""
        query: Json = {"ordering": ["tasks:id"]}
        if batch_id is not None:
            only = {"filter": "filter:tasks:data.batch_id", "operator": "equal", "type": "String", "value": batch_id}
            query["filters"] = {"conjunction": "and", "items": [only]}
        include = "id,meta,updated_at,total_annotations,cancelled_annotations"
        wanted = {"project": project, "fields": "task_only", "include": include, "query": json.dumps(query)}
        page, seen, total = 1, 0, 1
        while seen < total:
            answer = self._again("GET", "/api/tasks", params={**wanted, "page": page, "page_size": _LISTED})
            yield from answer["tasks"]
            # Beyond the last page the server answers that there is none.
            page, seen, total = page + 1, seen + _LISTED, answer["total"]

    def fetch_tasks(self, project: int, numbers: Sequence[int]) -> Iterator[Json]:
        """Yield whole tasks with their answers, those without answers too."""
        for start in range(0, len(numbers), _FETCHED):
            chosen = [("ids[]", str(number)) for number in numbers[start : start + _FETCHED]]
            how = [("exportType", "JSON"), ("download_all_tasks", "true")]
            yield from self._again("GET", f"/api/projects/{project}/export", params=[*how, *chosen])

    def has_answers(self, task: int) -> bool:
        """Return whether anybody has answered or skipped a task."""
        return bool(self._again("GET", f"/api/tasks/{task}/annotations/"))

    def delete_task(self, task: int) -> None:
        """Remove a task and its answers."""
        self._again("DELETE", f"/api/tasks/{task}/")

    def _again(self, method: str, path: str, **content: Any) -> Any:
        """Send what may be done twice, several times if need be."""

        def send() -> Any:
            try:
                return self._once(method, path, **content)
            except RefusedError as error:
                # Done by the try before, whose answer was lost.
                if method == "DELETE" and error.is_missing:
                    return None
                raise

        return _persistently(send)

    def _once(self, method: str, path: str, **content: Any) -> Any:
        response = self._send(method, path, content)
        if response.status_code == _UNAUTHORIZED and self._session is not None:
            # Sessions last minutes. Nothing was done, so that asking again is no second time.
            self._session = None
            response = self._send(method, path, content)
        return self._content(response)

    def _send(self, method: str, path: str, content: Json) -> httpx.Response:
        return self._exchange(method, path, headers={"Authorization": self._authorization()}, **content)

    def _exchange(self, method: str, path: str, **content: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **content)
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise ConfigError(f"Label Studio's url {self._access.url!r} is no address: {error}") from error
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise UnreachableError(
                f"Label Studio at {self._access.url} cannot be reached ({error}). Is it running, and the url right?"
            ) from error
        except httpx.TransportError as error:
            raise NoAnswerError(
                f"Label Studio at {self._access.url} gave no answer to {method} {path} ({type(error).__name__}). "
                f"Run again: nothing is sent twice."
            ) from error

    def _authorization(self) -> str:
        """Return the header of a legacy token, or of a session that a personal access token (a JWT) opens."""
        token = self._access.token
        if token.count(".") != _DOTS_OF_A_JWT:
            return f"Token {token}"
        if self._session is None:
            reply = self._exchange("POST", "/api/token/refresh", json={"refresh": token})
            self._session = str(self._content(reply)["access"])
        return f"Bearer {self._session}"

    def _content(self, response: httpx.Response) -> Any:
        status, asked = response.status_code, f"{response.request.method} {response.request.url.path}"
        if status in (_UNAUTHORIZED, _FORBIDDEN):
            raise ConfigError(
                f"Label Studio at {self._access.url} does not accept the token ({status} to {asked}). Give one of a "
                f"user who may see the projects; legacy tokens must be allowed in the organization's settings."
            )
        if status >= _FAILED:
            raise FailedError(f"Label Studio at {self._access.url} failed over {asked}: {status} {_detail(response)}")
        if status >= _REFUSED:
            message = f"Label Studio at {self._access.url} refused {asked}: {status} {_detail(response)}"
            raise RefusedError(message, is_missing=status == _NOT_FOUND)
        if status >= _REDIRECT:
            raise ConfigError(f"{self._access.url} redirects to {response.headers.get('location')}. Use that as url.")
        return self._parsed(response, asked)

    def _parsed(self, response: httpx.Response, asked: str) -> Any:
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError as error:
            raise ConfigError(f"{self._access.url} answers {asked} as no Label Studio does. Check the url.") from error


def _detail(response: httpx.Response) -> str:
    """Return what the server says of an error; its pages for browsers say nothing."""
    try:
        answer = response.json()
    except ValueError:
        return ""
    told = answer.get("validation_errors") or answer.get("detail") if isinstance(answer, dict) else answer
    return str(told)[:500]


def _persistently(send: Callable[[], _Answer]) -> _Answer:
    for pause_s in _PAUSES_S:
        try:
            return send()
        except (UnreachableError, NoAnswerError, FailedError):
            time.sleep(pause_s)
    return send()
