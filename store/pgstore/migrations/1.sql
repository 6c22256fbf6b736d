-- Where the next birth comes from.
CREATE SEQUENCE births;

CREATE TABLE conversations (
	conversation text COLLATE "C" PRIMARY KEY,
	birth        bigint  NOT NULL,
	line         text COLLATE "C" NOT NULL, -- store.LineOf
	seconds      bigint  NOT NULL, -- of created_at, since 1970
	nanoseconds  integer NOT NULL,
	next         bigint  NOT NULL, -- id of the next event
	record       bytea   NOT NULL  -- JSON of store.Conversation
);
CREATE INDEX newest ON conversations (line, seconds DESC, nanoseconds DESC, birth DESC);

CREATE TABLE events (
	conversation text COLLATE "C" NOT NULL,
	birth        bigint  NOT NULL,
	id           bigint  NOT NULL,
	flags        integer NOT NULL,
	json         bytea   NOT NULL,
	PRIMARY KEY (conversation, birth, id)
);

CREATE TABLE keys (
	conversation text COLLATE "C" NOT NULL,
	birth        bigint NOT NULL,
	key          bytea  NOT NULL, -- SHA-256
	id           bigint NOT NULL, -- of the event
	digest       bytea  NOT NULL,
	PRIMARY KEY (conversation, birth, key)
);

-- Births that an import is at: their events belong to no conversation yet.
CREATE TABLE imports (
	conversation text COLLATE "C" NOT NULL,
	birth        bigint NOT NULL,
	PRIMARY KEY (conversation, birth)
);

CREATE TABLE records (
	name  text COLLATE "C" PRIMARY KEY,
	value bytea -- NULL is none
);
