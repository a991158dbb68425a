"""Maps of objects in SQLite: a look is one transaction, and an R-tree finds what is near.

The database is in WAL mode: readers never wait for the writer, and what was committed survives a killed
process.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from n3d_core.errors import ObjectMapError
from n3d_core.memory.camera_errors import DIRECTIONS
from n3d_core.memory.objects import GONE_LOG_ODDS, WELL_KNOWN, RememberedObject, noun_of
from n3d_core.memory.observations import Array, Pose

SCHEMA_VERSION = 7
_COLUMNS = (
    "id", "noun", "label", "labels", "x", "y", "z", "covariance", "length", "width", "height", "yaw", "log_odds",
    "first_seen", "last_seen", "last_looked", "observations", "view", "quality", "drift", "through", "directions",
)  # fmt: skip
_INSERT = f"INSERT INTO objects (map, {', '.join(_COLUMNS[1:])}) VALUES ({', '.join('?' * len(_COLUMNS))})"
_UPDATE = f"UPDATE objects SET {', '.join(f'{name} = ?' for name in _COLUMNS[1:])} WHERE id = ?"
_AS_STORED = ("id", "yaw", "log_odds", "first_seen", "last_seen", "last_looked", "observations", "quality", "through")
_CHECKPOINT_PAGES = 8192  # 32 MB of WAL: a page that many looks change is copied once, and few looks wait for it
_MOST_TOGETHER = 6.0
_HALF_LAYER = 0.4  # of the place that a map takes along the fourth axis of the R-tree
_MIGRATIONS: dict[int, str] = {
    1: """
        CREATE TABLE maps (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
        CREATE TABLE objects (
            id INTEGER PRIMARY KEY AUTOINCREMENT, map INTEGER NOT NULL REFERENCES maps (id), noun TEXT NOT NULL,
            label TEXT NOT NULL, labels TEXT NOT NULL, x REAL NOT NULL, y REAL NOT NULL, z REAL NOT NULL,
            covariance BLOB NOT NULL, length REAL NOT NULL, width REAL NOT NULL,
            height REAL NOT NULL, yaw REAL NOT NULL, log_odds REAL NOT NULL,
            first_seen REAL NOT NULL, last_seen REAL NOT NULL, last_looked REAL NOT NULL, observations INTEGER NOT NULL,
            view TEXT NOT NULL, quality REAL NOT NULL);
        CREATE INDEX objects_by_noun ON objects (map, noun, log_odds DESC, last_seen DESC);
        CREATE INDEX objects_by_existence ON objects (map, log_odds DESC, last_seen DESC);
        CREATE VIRTUAL TABLE places USING rtree (id, x0, x1, y0, y1, z0, z1, map0, map1);
    """,
    2: "CREATE INDEX objects_by_label ON objects (map, label, last_seen DESC);",
    # An R-tree splits by area, which was 0 while every box was flat along the map's axis: it did not sort at all.
    3: """
        CREATE TEMP TABLE flat AS SELECT * FROM places;
        DROP TABLE places;
        CREATE VIRTUAL TABLE places USING rtree (id, x0, x1, y0, y1, z0, z1, map0, map1);
        INSERT INTO places
            SELECT id, x0, x1, y0, y1, z0, z1, (map0 + map1) / 2 - 0.4, (map0 + map1) / 2 + 0.4 FROM flat;
        DROP TABLE flat;
        DROP INDEX objects_by_label;
        CREATE INDEX objects_by_label ON objects (map, label, last_seen DESC, log_odds, observations);
    """,
    # Most looks change the log-odds of many objects: the fewer indices hold them, the fewer pages a look writes.
    4: f"""
        ALTER TABLE objects ADD COLUMN drift BLOB NOT NULL DEFAULT x'{"00" * 24}';
        DROP INDEX objects_by_label;
        CREATE INDEX objects_by_label ON objects (map, label, last_seen DESC) WHERE observations >= {WELL_KNOWN};
    """,
    5: "ALTER TABLE objects ADD COLUMN through REAL NOT NULL DEFAULT 0;",
    6: f"ALTER TABLE objects ADD COLUMN directions BLOB NOT NULL DEFAULT x'{'00' * 16 * DIRECTIONS}';",
    7: """
        CREATE TABLE cameras (
            map INTEGER NOT NULL REFERENCES maps (id), source TEXT NOT NULL, errors BLOB NOT NULL,
            PRIMARY KEY (map, source)) WITHOUT ROWID;
        CREATE TABLE pairs (
            first INTEGER NOT NULL, second INTEGER NOT NULL, together REAL NOT NULL,
            PRIMARY KEY (first, second)) WITHOUT ROWID;
        CREATE TRIGGER object_removed AFTER DELETE ON objects BEGIN
            DELETE FROM places WHERE id = OLD.id;
            DELETE FROM pairs WHERE first = OLD.id OR second = OLD.id;
        END;
    """,
}  # to each version from the one before it


@dataclass(frozen=True)
class Places:
    """Where N objects are: centers [N, 3], sizes [N, 3], yaws [N], log_odds [N], covariances [N, 3, 3] of centres.

    `labels` are the weights of each object's labels, `through` [N] the shares that looks at them usually see through,
    `observations` [N] how many looks found them.
    """

    ids: list[int]
    labels: list[dict[str, float]]
    centers: Array
    sizes: Array
    yaws: Array
    log_odds: Array
    covariances: Array
    through: Array
    observations: Array

    @classmethod
    def of(cls, objects: Sequence[RememberedObject]) -> Places:
        """The places of objects."""
        return cls(
            [one.id for one in objects],
            [one.labels for one in objects],
            np.array([one.center for one in objects]).reshape(-1, 3),
            np.array([one.size for one in objects]).reshape(-1, 3),
            np.array([one.yaw for one in objects]),
            np.array([one.log_odds for one in objects]),
            np.array([one.covariance for one in objects]).reshape(-1, 3, 3),
            np.array([one.through for one in objects]),
            np.array([one.observations for one in objects], float),
        )


class ObjectStore:
    """One map of a database. Use it from one thread at a time; processes may share the file.

    Args:
        path: of the database; it is made where it is missing.
        name: of the map.

    Raises:
        ObjectMapError: if the file is no such database, of a newer version, damaged, or cannot be written.
    """

    def __init__(self, path: str | Path, name: str = "default") -> None:
        self.path, self.name = Path(path).expanduser(), name
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, timeout=10.0, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            self._migrate()
            with self.transaction():
                self._db.execute("INSERT OR IGNORE INTO maps (name) VALUES (?)", (name,))
            self._map = int(self._db.execute("SELECT id FROM maps WHERE name = ?", (name,)).fetchone()[0])

    def close(self) -> None:
        """Closes the database; what was committed stays."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; other writers wait."""
        with self._explained():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # SQLite may have rolled it back itself, on a full disk
                    self._db.execute("ROLLBACK")
                raise

    def near(self, low: Array, high: Array) -> Places:
        """Where the objects are whose boxes overlap an axis-aligned region of the map."""
        with self._explained():
            rows = self._db.execute(
                "SELECT o.id, labels, x, y, z, length, width, height, yaw, log_odds, through, observations, covariance "
                "FROM places AS p JOIN objects AS o ON o.id = p.id WHERE x1 >= ? AND x0 <= ? AND y1 >= ? AND y0 <= ? "
                "AND z1 >= ? AND z0 <= ? AND map0 <= ? AND map1 >= ?",
                (low[0], high[0], low[1], high[1], low[2], high[2], self._map, self._map),
            ).fetchall()
        numbers = np.array([row[2:12] for row in rows], np.float64).reshape(-1, 10)
        covariances = np.frombuffer(b"".join(row[12] for row in rows), np.float64).reshape(-1, 3, 3)
        labels = json.loads(f"[{','.join(row[1] for row in rows)}]")
        yaws, log_odds, through, observations = numbers[:, 6:].T
        places = numbers[:, :3], numbers[:, 3:6], yaws, log_odds, covariances, through, observations
        return Places([row[0] for row in rows], labels, *places)

    def many(self, identities: Sequence[int]) -> dict[int, RememberedObject]:
        """Objects of the map by id; those that it does not hold are left out."""
        marks = ", ".join("?" * len(identities))
        # The plus keeps SQLite from going through all objects of the map by an index.
        return {one.id: one for one in self._select(f"id IN ({marks}) AND +map = ?", (*identities, self._map))}

    def named(self, noun: str | None, limit: int, seen_from: float = -np.inf) -> list[RememberedObject]:
        """Objects with a head noun (None: any), the surest and then the most recent first."""
        where = "last_seen >= ?" if noun is None else "last_seen >= ? AND noun = ?"
        values = (seen_from,) if noun is None else (seen_from, noun)
        order = "ORDER BY log_odds DESC, last_seen DESC LIMIT ?"
        return self._select(f"map = ? AND {where} {order}", (self._map, *values, limit))

    def missing(self, label: str, seen_from: float, out_of_view: bool, limit: int = 20) -> list[RememberedObject]:
        """Well-known objects of a label that are gone, the last seen first; with `out_of_view` all of them."""
        where = f"map = ? AND label = ? AND last_seen >= ? AND observations >= {WELL_KNOWN} AND (? OR log_odds < ?)"
        values = (self._map, label, seen_from, out_of_view, GONE_LOG_ODDS)
        return self._select(f"{where} ORDER BY last_seen DESC LIMIT ?", (*values, limit))

    def every(self) -> list[RememberedObject]:
        """All objects of the map, by id."""
        return self._select("map = ? ORDER BY id", (self._map,))

    def count(self) -> int:
        """How many objects the map holds."""
        with self._explained():
            return int(self._db.execute("SELECT count(*) FROM objects WHERE map = ?", (self._map,)).fetchone()[0])

    def write(self, objects: Iterable[RememberedObject]) -> list[int]:
        """Inserts objects without an id and replaces the others; returns their ids. Inside of a transaction."""
        ids, changed, places = [], [], []
        for one in objects:
            row = _row(one)
            if one.id:
                changed.append((*row, one.id))
            identity = one.id or int(self._db.execute(_INSERT, (self._map, *row)).lastrowid or 0)
            corners = np.column_stack(bounds(one)).reshape(-1).tolist()
            places.append((identity, *corners, self._map - _HALF_LAYER, self._map + _HALF_LAYER))
            ids.append(identity)
        self._db.executemany(_UPDATE, changed)
        self._db.executemany("INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", places)
        return ids

    def discredit(self, changes: Iterable[tuple[float, float, int]]) -> None:
        """Sets log-odds and the time of the last look of objects: (log_odds, stamp, id). Inside of a transaction."""
        self._db.executemany("UPDATE objects SET log_odds = ?, last_looked = max(last_looked, ?) WHERE id = ?", changes)

    def rewind(self, now: float) -> float:
        """Shifts all stamps of the map by as much as the latest is ahead of `now`; returns the seconds."""
        with self.transaction():
            newest = "SELECT max(max(last_seen, last_looked)) FROM objects WHERE map = ?"
            latest = self._db.execute(newest, (self._map,)).fetchone()[0]
            shift = 0.0 if latest is None else max(float(latest) - now, 0.0)
            if shift > 0:
                self._db.execute(
                    "UPDATE objects SET first_seen = first_seen - ?, last_seen = last_seen - ?, "
                    "last_looked = last_looked - ? WHERE map = ?",
                    (shift, shift, shift, self._map),
                )
        return shift

    def forget(self, identities: Iterable[int]) -> int:
        """Removes objects; returns how many there were."""
        with self.transaction():
            return self.remove(identities)

    def remove(self, identities: Iterable[int]) -> int:
        """Removes objects; returns how many there were. Inside of a transaction."""
        rows = [(i,) for i in identities]
        return self._db.executemany("DELETE FROM objects WHERE id = ?", rows).rowcount if rows else 0

    def camera(self, source: str) -> bytes | None:
        """What was kept of a camera's errors, None if nothing was."""
        kept = self._db.execute("SELECT errors FROM cameras WHERE map = ? AND source = ?", (self._map, source))
        row = kept.fetchone()
        return None if row is None else bytes(row[0])

    def keep_camera(self, source: str, errors: bytes) -> None:
        """Keeps a camera's errors. Inside of a transaction."""
        self._db.execute("INSERT OR REPLACE INTO cameras VALUES (?, ?, ?)", (self._map, source, errors))

    def weigh_pair(self, first: int, second: int, together: float) -> float:
        """Adds to the log-odds, within bounds, that two objects in one place are two. Inside of a transaction."""
        row = self._db.execute(
            "INSERT INTO pairs VALUES (?, ?, ?) ON CONFLICT DO UPDATE "
            f"SET together = max({-_MOST_TOGETHER}, min({_MOST_TOGETHER}, together + excluded.together)) "
            "RETURNING together",
            (min(first, second), max(first, second), together),
        ).fetchone()
        return float(row[0])

    def least(self, count: int) -> list[int]:
        """Ids of the objects to drop first: the least likely to exist, then those not seen for longest."""
        with self._explained():
            rows = self._db.execute(
                "SELECT id FROM objects WHERE map = ? ORDER BY log_odds, last_seen LIMIT ?", (self._map, count)
            )
            return [int(row[0]) for row in rows]

    def _select(self, where: str, values: Sequence[Any]) -> list[RememberedObject]:
        with self._explained():
            rows = self._db.execute(f"SELECT {', '.join(_COLUMNS)} FROM objects WHERE {where}", tuple(values))
            return [_object(row) for row in rows]

    def _migrate(self) -> None:
        version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
        if version > SCHEMA_VERSION:
            raise ObjectMapError(
                f"{self.path} has version {version}; this program knows up to {SCHEMA_VERSION}: update it, or name "
                "another file"
            )
        if version == 0 and self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise ObjectMapError(f"{self.path} is another program's database; name another file")
        for step in range(version + 1, SCHEMA_VERSION + 1):
            self._db.executescript(f"BEGIN IMMEDIATE; {_MIGRATIONS[step]} PRAGMA user_version = {step}; COMMIT;")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turns the database's own errors into ones that say what to do."""
        try:
            yield
        except sqlite3.OperationalError as error:
            advice = "is the disk full or read-only, or another writer stuck?"
            if self.path.is_dir():
                advice = "it is a folder: name a file in it"
            raise ObjectMapError(f"{self.path}: {error}; {advice}") from error
        except sqlite3.DatabaseError as error:
            raise ObjectMapError(f"{self.path} is damaged ({error}); move it away, and a new map is begun") from error
        except OSError as error:
            raise ObjectMapError(f"{self.path}: {error.strerror}; name a place that can be written") from error


def bounds(one: RememberedObject) -> tuple[Array, Array]:
    """Corners of the axis-aligned hull of an object's box in the map."""
    length, width, height = one.size.tolist()
    along, across = abs(math.cos(one.yaw)), abs(math.sin(one.yaw))
    half = np.array([along * length + across * width, across * length + along * width, height]) / 2
    return one.center - half, one.center + half


def _row(one: RememberedObject) -> tuple[Any, ...]:
    """The columns behind the id."""
    return (
        noun_of(one.label),
        one.label,
        json.dumps(one.labels),
        *one.center.tolist(),
        one.covariance.tobytes(),
        *one.size.tolist(),
        float(one.yaw),
        float(one.log_odds),
        float(one.first_seen),
        float(one.last_seen),
        float(one.last_looked),
        int(one.observations),
        "[]"
        if one.view is None
        else _view(one.view[0], one.view[1].rotation.tobytes(), one.view[1].translation.tobytes()),
        float(one.quality),
        one.drift.tobytes(),
        float(one.through),
        one.directions.tobytes(),
    )


@lru_cache(maxsize=8)
def _view(source: str, rotation: bytes, translation: bytes) -> str:
    """As JSON: by which camera and from where an object was seen; one text for all objects of a look."""
    return json.dumps([source, np.frombuffer(rotation).reshape(3, 3).tolist(), np.frombuffer(translation).tolist()])


def _object(row: Sequence[Any]) -> RememberedObject:
    values = dict(zip(_COLUMNS, row, strict=True))
    seen_from = json.loads(values["view"])
    return RememberedObject(
        labels=json.loads(values["labels"]),
        center=np.array([values["x"], values["y"], values["z"]]),
        covariance=np.frombuffer(values["covariance"], np.float64).reshape(3, 3),
        size=np.array([values["length"], values["width"], values["height"]]),
        drift=np.frombuffer(values["drift"], np.float64),
        directions=np.frombuffer(values["directions"], np.float64).reshape(DIRECTIONS, 2),
        view=(seen_from[0], Pose(np.array(seen_from[1]), np.array(seen_from[2]))) if seen_from else None,
        **{name: values[name] for name in _AS_STORED},
    )
