"""The sandbox's tables. Every event is appended; the present state can be derived from them."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS resource (
    service     TEXT NOT NULL,
    reference   TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('standing', 'closed')),
    fingerprint TEXT,           -- of the body that made it; NULL if nothing was ever made
    document    TEXT,           -- the resource, as it is or was
    undone      TEXT,           -- how it was compensated
    PRIMARY KEY (service, reference),
    CHECK ((state = 'closed') = (undone IS NOT NULL))
) WITHOUT ROWID;

-- Double entry: the entries of each movement sum to nothing, and so does the table.
CREATE TABLE IF NOT EXISTS account_entry (
    seq       INTEGER PRIMARY KEY AUTOINCREMENT,
    reference TEXT NOT NULL,
    movement  TEXT NOT NULL CHECK (movement IN ('charge', 'authorize', 'capture', 'refund', 'void')),
    account   TEXT NOT NULL,    -- customer:<id>, held, or merchant
    amount    INTEGER NOT NULL, -- minor units; what leaves an account is negative
    currency  TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS account_entry_reference ON account_entry (reference);

CREATE TABLE IF NOT EXISTS stock (
    sku       TEXT PRIMARY KEY,
    available INTEGER NOT NULL CHECK (available >= 0)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS stock_entry (
    seq       INTEGER PRIMARY KEY AUTOINCREMENT,
    reference TEXT NOT NULL,
    sku       TEXT NOT NULL,
    quantity  INTEGER NOT NULL  -- reserved; a release is negative
);
CREATE INDEX IF NOT EXISTS stock_entry_reference ON stock_entry (reference);

CREATE TABLE IF NOT EXISTS parcel_entry (
    seq       INTEGER PRIMARY KEY AUTOINCREMENT,
    reference TEXT NOT NULL,
    parcels   INTEGER NOT NULL  -- booked; a cancellation is negative
);
CREATE INDEX IF NOT EXISTS parcel_entry_reference ON parcel_entry (reference);

CREATE TABLE IF NOT EXISTS record (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT,
    at              INTEGER NOT NULL, -- nanoseconds of the machine's monotonic clock
    phase           TEXT NOT NULL CHECK (phase IN ('arrived', 'applied', 'replied')),
    service         TEXT NOT NULL,
    action          TEXT NOT NULL, -- as in X-Simulate, or get
    reference       TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    fingerprint     TEXT NOT NULL,
    fault           TEXT,       -- what went wrong on purpose
    status          INTEGER     -- of the reply
);

CREATE TABLE IF NOT EXISTS fault_fired (
    service   TEXT NOT NULL,
    reference TEXT NOT NULL,
    action    TEXT NOT NULL,
    times     INTEGER NOT NULL,
    PRIMARY KEY (service, reference, action)
) WITHOUT ROWID;
"""
