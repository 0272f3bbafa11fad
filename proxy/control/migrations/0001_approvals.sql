-- Approvals: one schema for SQLite and PostgreSQL. Times are milliseconds since 1970, UTC; 0 stands for none.

CREATE TABLE approval (
    id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    request_key TEXT NOT NULL,
    subject_key TEXT NOT NULL,
    subject TEXT NOT NULL,
    upstream TEXT NOT NULL,
    operation TEXT NOT NULL,
    policy_version TEXT NOT NULL,
    chain TEXT NOT NULL,
    risk BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    ended_ms BIGINT NOT NULL,
    grant_ms BIGINT NOT NULL,
    glass_broken BIGINT NOT NULL,
    reason TEXT NOT NULL,
    seq BIGINT NOT NULL
);
-- A request has at most one approval that is open.
CREATE UNIQUE INDEX approval_open ON approval (request_key) WHERE kind = 'single' AND state IN ('pending', 'approved');
CREATE INDEX approval_key ON approval (request_key, state);
CREATE INDEX approval_subject ON approval (subject_key, state, kind);
CREATE INDEX approval_chain ON approval (chain) WHERE chain <> '';
CREATE INDEX approval_expiry ON approval (expires_ms) WHERE state IN ('pending', 'approved');
-- Covers every filter of a list, so that a page is found in the index alone.
CREATE INDEX approval_list ON approval (state, created_ms, id, upstream, operation, subject, risk, chain, kind, expires_ms);

-- What is not searched, apart from what changes.
CREATE TABLE approval_detail (
    approval_id TEXT NOT NULL PRIMARY KEY,
    body TEXT NOT NULL
);

-- The groups that pending approvals wait for.
CREATE TABLE approval_waiting (
    group_name TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    approval_id TEXT NOT NULL,
    PRIMARY KEY (group_name, created_ms, approval_id)
);
CREATE INDEX approval_waiting_id ON approval_waiting (approval_id);

CREATE TABLE approval_vote (
    approval_id TEXT NOT NULL,
    n BIGINT NOT NULL,
    member TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (approval_id, n)
);
CREATE INDEX approval_vote_member ON approval_vote (member);

-- The transitions, each written with the change that it tells of.
CREATE TABLE approval_event (
    approval_id TEXT NOT NULL,
    seq BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    node TEXT NOT NULL,
    recorded BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (approval_id, seq)
);
CREATE INDEX approval_event_at ON approval_event (at_ms);
CREATE INDEX approval_event_unrecorded ON approval_event (at_ms) WHERE recorded = 0;

CREATE TABLE approval_review (
    approval_id TEXT NOT NULL PRIMARY KEY,
    broken_by TEXT NOT NULL,
    opened_ms BIGINT NOT NULL,
    closed_ms BIGINT NOT NULL,
    closed_by TEXT NOT NULL,
    note TEXT NOT NULL
);
CREATE INDEX approval_review_open ON approval_review (opened_ms) WHERE closed_ms = 0;

CREATE TABLE approval_delegation (
    id TEXT NOT NULL PRIMARY KEY,
    lender TEXT NOT NULL,
    borrower TEXT NOT NULL,
    group_names TEXT NOT NULL,
    reason TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    ends_ms BIGINT NOT NULL,
    revoked_ms BIGINT NOT NULL
);
CREATE INDEX approval_delegation_borrower ON approval_delegation (borrower, ends_ms);
CREATE INDEX approval_delegation_lender ON approval_delegation (lender, ends_ms);

CREATE TABLE approval_delivery (
    id TEXT NOT NULL PRIMARY KEY,
    target TEXT NOT NULL,
    approval_id TEXT NOT NULL,
    state TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    due_ms BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    last_error TEXT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX approval_delivery_due ON approval_delivery (due_ms) WHERE state = 'due';
CREATE INDEX approval_delivery_dead ON approval_delivery (created_ms) WHERE state = 'dead';

-- Callbacks that were taken, so that none is taken twice.
CREATE TABLE approval_callback (
    digest TEXT NOT NULL PRIMARY KEY,
    until_ms BIGINT NOT NULL
);

-- The farthest time that each boot of a machine has seen.
CREATE TABLE approval_clock (
    boot TEXT NOT NULL PRIMARY KEY,
    steady_ms BIGINT NOT NULL,
    now_ms BIGINT NOT NULL
);
