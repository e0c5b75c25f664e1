BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE content_blobs (
	content_id TEXT NOT NULL,
	digest TEXT NOT NULL,
	CONSTRAINT pk_content_blobs PRIMARY KEY (content_id, digest),
	CONSTRAINT fk_content_blobs_content_id FOREIGN KEY(content_id) REFERENCES contents (id) ON DELETE CASCADE
);
INSERT INTO "content_blobs" VALUES('688262a5-0ce9-443f-a25a-bb00dbf6cfbb','efb08c129366c48ca19fef2722d6a80f1367b0b07a32cdb014f3c4f753bd93e8');
CREATE TABLE contents (
	id TEXT NOT NULL,
	manifest TEXT NOT NULL,
	size BIGINT NOT NULL,
	created_at TEXT NOT NULL,
	CONSTRAINT pk_contents PRIMARY KEY (id)
);
INSERT INTO "contents" VALUES('688262a5-0ce9-443f-a25a-bb00dbf6cfbb','{"format":1,"runtime_type":"Python","workspace":{"python_version":"3.11.7","packages":{"cloudpickle":"3.1.3","comm":"0.2.3","debugpy":"1.8.22","ipykernel":"7.4.0","ipython":"9.18.1","jupyter-mlsvc":"0.1.0","jupyter_client":"8.10.0","jupyter_core":"5.9.1","msgspec":"0.23.0","packaging":"26.4","platformdirs":"4.14.8","Pygments":"2.21.0","python-dateutil":"4.0.0","pyzmq":"27.3.0","tornado":"6.6.1","traitlets":"5.16.1","typing_extensions":"4.16.0","wrapt":"2.5.2"},"submodules":[],"objects":[{"name":"factor","type":"int","size":27,"kept":true,"reason":"","uses":[]}]},"stream":{"digest":"efb08c129366c48ca19fef2722d6a80f1367b0b07a32cdb014f3c4f753bd93e8","size":92},"buffers":[],"files":[],"skipped_files":[]}',92,'2026-11-30T04:20:57.5718220');
CREATE TABLE service_revisions (
	id TEXT NOT NULL,
	name TEXT NOT NULL,
	version TEXT NOT NULL,
	number INTEGER NOT NULL,
	runtime_type TEXT NOT NULL,
	code TEXT,
	init_code TEXT,
	description TEXT NOT NULL,
	operation_id TEXT,
	inputs TEXT NOT NULL,
	outputs TEXT NOT NULL,
	output_files TEXT NOT NULL,
	snapshot_id TEXT,
	content_id TEXT,
	created_at TEXT NOT NULL,
	CONSTRAINT pk_service_revisions PRIMARY KEY (id),
	CONSTRAINT uq_service_revisions_name_version_number UNIQUE (name, version, number),
	CONSTRAINT fk_service_revisions_name_version FOREIGN KEY(name, version) REFERENCES service_versions (name, version) ON DELETE CASCADE,
	CONSTRAINT fk_service_revisions_content_id FOREIGN KEY(content_id) REFERENCES contents (id)
);
INSERT INTO "service_revisions" VALUES('4068f69c-f400-4024-a189-f351a92dbc84','Triple','V1.0',1,'Python','y = x * factor',NULL,'',NULL,'[{"name":"x","type":"numeric"}]','[{"name":"y","type":"numeric"}]','[]','1352814b-2134-431f-acd8-da6bcd1ddced','688262a5-0ce9-443f-a25a-bb00dbf6cfbb','2026-11-30T04:20:57.5885060');
INSERT INTO "service_revisions" VALUES('81c64e54-7552-47f4-b7e1-8019bb5b9c21','Area','V1.0',2,'Python','area = width * height',NULL,'Area of a rectangle, again',NULL,'[{"name":"width","type":"numeric"},{"name":"height","type":"numeric"}]','[{"name":"area","type":"numeric"}]','[]',NULL,NULL,'2026-11-30T04:20:52.5855260');
CREATE TABLE service_versions (
	name TEXT NOT NULL,
	version TEXT NOT NULL,
	owner TEXT NOT NULL,
	created_at TEXT NOT NULL,
	revision_id TEXT NOT NULL,
	seq BIGINT NOT NULL,
	CONSTRAINT pk_service_versions PRIMARY KEY (name, version),
	CONSTRAINT fk_service_versions_name FOREIGN KEY(name) REFERENCES services (name)
);
INSERT INTO "service_versions" VALUES('Area','V1.0','admin','2026-11-30T04:20:52.5855260','81c64e54-7552-47f4-b7e1-8019bb5b9c21',1);
INSERT INTO "service_versions" VALUES('Triple','V1.0','admin','2026-11-30T04:20:57.5885060','4068f69c-f400-4024-a189-f351a92dbc84',2);
CREATE TABLE services (
	name TEXT NOT NULL,
	owner TEXT NOT NULL,
	created_at TEXT NOT NULL,
	CONSTRAINT pk_services PRIMARY KEY (name)
);
INSERT INTO "services" VALUES('Area','admin','2026-11-30T04:20:52.5855260');
INSERT INTO "services" VALUES('Triple','admin','2026-11-30T04:20:57.5885060');
CREATE TABLE snapshots (
	id TEXT NOT NULL,
	name TEXT NOT NULL,
	owner TEXT NOT NULL,
	runtime_type TEXT NOT NULL,
	content_id TEXT NOT NULL,
	content_size BIGINT NOT NULL,
	created_at TEXT NOT NULL,
	CONSTRAINT pk_snapshots PRIMARY KEY (id),
	CONSTRAINT fk_snapshots_content_id FOREIGN KEY(content_id) REFERENCES contents (id)
);
INSERT INTO "snapshots" VALUES('1352814b-2134-431f-acd8-da6bcd1ddced','factor','admin','Python','688262a5-0ce9-443f-a25a-bb00dbf6cfbb',92,'2026-11-30T04:20:57.5718220');
CREATE TABLE tokens (
	id TEXT NOT NULL,
	family_id TEXT NOT NULL,
	user_name TEXT NOT NULL,
	refresh_digest TEXT NOT NULL,
	created_at TEXT NOT NULL,
	expires_at TEXT NOT NULL,
	family_expires_at TEXT NOT NULL,
	revoked_at TEXT,
	CONSTRAINT pk_tokens PRIMARY KEY (id)
);
INSERT INTO "tokens" VALUES('48d84809-b80a-47f9-bff4-47b228deec9c','48d84809-b80a-47f9-bff4-47b228deec9c','admin','fd54b7df64b4358d254fbf9b931458f7fcb3c092457c4bac7d15a90261d04b0f','2026-11-30T04:20:52.5172490','2026-12-14T04:20:52.5171840','2027-02-28T04:20:52.5171840',NULL);
CREATE TABLE users (
	name TEXT NOT NULL,
	password_hash TEXT NOT NULL,
	role TEXT NOT NULL,
	created_at TEXT NOT NULL,
	disabled BOOLEAN DEFAULT 0 NOT NULL,
	CONSTRAINT pk_users PRIMARY KEY (name)
);
INSERT INTO "users" VALUES('admin','$argon2id$v=19$m=65536,t=3,p=4$t8xfCm8noucRLbytfg2w7g$zYZu93jnb8yMcE/MrLbS+Zx/czou0bax7lBIRtgbSvs','owner','2026-11-30T04:20:51.1227000',0);
CREATE INDEX ix_tokens_family_id ON tokens (family_id);
CREATE INDEX ix_tokens_user_name ON tokens (user_name);
CREATE INDEX ix_tokens_expires_at ON tokens (expires_at);
CREATE INDEX ix_content_blobs_digest ON content_blobs (digest);
CREATE INDEX ix_snapshots_owner ON snapshots (owner);
CREATE INDEX ix_snapshots_content_id ON snapshots (content_id);
CREATE INDEX ix_service_versions_seq ON service_versions (seq);
CREATE INDEX ix_service_revisions_content_id ON service_revisions (content_id);
COMMIT;
