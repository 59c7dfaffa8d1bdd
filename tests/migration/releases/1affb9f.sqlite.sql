BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0010');
CREATE TABLE api_key (
	id VARCHAR(36) NOT NULL, 
	prefix VARCHAR(8) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	caller TEXT NOT NULL, 
	who TEXT NOT NULL, 
	scopes JSON NOT NULL, 
	everyone BOOLEAN NOT NULL, 
	created_at VARCHAR(27) NOT NULL, 
	expires_at VARCHAR(27), 
	revoked_at VARCHAR(27), 
	last_used_at VARCHAR(27), created_by TEXT, created_by_key VARCHAR(36), 
	CONSTRAINT pk_api_key PRIMARY KEY (id)
);
INSERT INTO "api_key" VALUES('01a221e6-d293-704c-a62b-de8cbeb17d48','xpit6dcq','199f67735e06703cd02fc98ea7fb532bd2dd6fbbd962105e69c670b9bb9a4949','shop','a-test','["checkout", "operate", "read"]',0,'2026-11-28T11:25:05.043439Z',NULL,NULL,'2026-11-28T11:25:13.626471Z','command line',NULL);
CREATE TABLE log_clock (
	task TEXT NOT NULL, 
	boot TEXT NOT NULL, 
	counted FLOAT NOT NULL, 
	at VARCHAR(27), 
	CONSTRAINT pk_log_clock PRIMARY KEY (task)
);
INSERT INTO "log_clock" VALUES('log','00000000-0000-4000-8000-000000000000',17403.882787328,'2026-11-28T11:25:16.437693Z');
CREATE TABLE outbox (
	position INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	saga_id VARCHAR(36) NOT NULL, 
	seq INTEGER NOT NULL, 
	type TEXT NOT NULL, 
	caller TEXT NOT NULL, 
	at VARCHAR(27) NOT NULL, 
	xid BIGINT DEFAULT 0 NOT NULL
);
INSERT INTO "outbox" VALUES(1,'01a221e6-f447-73e4-af62-5cb88db382b2',5,'checkout.completed','shop','2026-11-28T11:25:13.766215Z',0);
INSERT INTO "outbox" VALUES(2,'01a221e6-f5c2-7c50-a72b-eb59905da49a',5,'checkout.compensated','shop','2026-11-28T11:25:14.092062Z',0);
INSERT INTO "outbox" VALUES(3,'01a221e6-f69e-7957-89b6-3fe7662ae792',7,'checkout.needs_attention','shop','2026-11-28T11:25:14.323181Z',0);
CREATE TABLE replica (
	id TEXT NOT NULL, 
	lease_expires_at VARCHAR(27) NOT NULL, 
	renewed_at VARCHAR(27) NOT NULL, 
	CONSTRAINT pk_replica PRIMARY KEY (id)
);
INSERT INTO "replica" VALUES('vm:18588:01a221e6-b05a-70da-9e91-30ee0f0901b7','2026-11-28T11:25:26.437693Z','2026-11-28T11:25:16.437693Z');
CREATE TABLE retention (
	task TEXT NOT NULL, 
	position VARCHAR(36) NOT NULL, 
	CONSTRAINT pk_retention PRIMARY KEY (task)
);
INSERT INTO "retention" VALUES('redact','00000000-0000-0000-0000-000000000000');
CREATE TABLE retention_later (
	saga_id VARCHAR(36) NOT NULL, 
	CONSTRAINT pk_retention_later PRIMARY KEY (saga_id)
);
CREATE TABLE saga (
	id VARCHAR(36) NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	order_id TEXT, 
	customer_id TEXT, 
	created_at VARCHAR(27) NOT NULL, 
	updated_at VARCHAR(27) NOT NULL, 
	finished_at VARCHAR(27), 
	next_action_at VARCHAR(27), 
	owner TEXT, 
	epoch INTEGER NOT NULL, 
	definition TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	caller TEXT NOT NULL, 
	idempotency_key TEXT, 
	fingerprint TEXT, 
	request_id TEXT, 
	input JSON NOT NULL, cancel JSON, 
	CONSTRAINT pk_saga PRIMARY KEY (id), 
	CONSTRAINT ck_saga_status_known CHECK (status IN ('running', 'compensating', 'completed', 'compensated', 'needs_attention')), 
	CONSTRAINT ck_saga_final_is_finished CHECK ((status IN ('completed', 'compensated')) = (finished_at IS NOT NULL)), 
	CONSTRAINT ck_saga_unfinished_has_next_action CHECK ((status IN ('running', 'compensating')) = (next_action_at IS NOT NULL)), 
	CONSTRAINT ck_saga_epoch_counts_from_one CHECK (epoch >= 1)
);
INSERT INTO "saga" VALUES('01a221e6-f447-73e4-af62-5cb88db382b2','completed','ord-completed','cus-7','2026-11-28T11:25:13.672061Z','2026-11-28T11:25:13.766215Z','2026-11-28T11:25:13.766215Z',NULL,NULL,1,'checkout',1,'shop','key-completed','6ce09154570e769fc41ec0a273697ad953ad0d52f89dc4acb6d9e4925730c95f','c13ca50e-481c-4dc4-832f-b52ed99397f4','{"order_id":"ord-completed","customer_id":"cus-7","currency":"EUR","items":[{"sku":"TSHIRT-M","quantity":2,"unit_price":1999}],"payment_method":"tok_visa","shipping_address":{"name":"Ada L.","line1":"1 Main St","line2":null,"city":"Paris","region":null,"postal_code":"75001","country":"FR"},"metadata":{},"amount":3998}',NULL);
INSERT INTO "saga" VALUES('01a221e6-f5c2-7c50-a72b-eb59905da49a','compensated','ord-compensated','cus-7','2026-11-28T11:25:14.051056Z','2026-11-28T11:25:14.092062Z','2026-11-28T11:25:14.092062Z',NULL,NULL,1,'checkout',1,'shop','key-compensated','a3b0d62a77048e35f225f20a01c0f23c503e6e7c505f2dfd11560210a215e297','e2641ce5-19c6-4ce8-8eda-95dd15953352','{"order_id":"ord-compensated","customer_id":"cus-7","currency":"EUR","items":[{"sku":"TSHIRT-M","quantity":2,"unit_price":1999}],"payment_method":"tok_visa","shipping_address":{"name":"Ada L.","line1":"1 Main St","line2":null,"city":"Paris","region":null,"postal_code":"75001","country":"FR"},"metadata":{},"amount":3998,"simulate":"inventory.execute=rejected"}',NULL);
INSERT INTO "saga" VALUES('01a221e6-f69e-7957-89b6-3fe7662ae792','needs_attention','ord-needs-attention','cus-7','2026-11-28T11:25:14.271046Z','2026-11-28T11:25:14.323181Z',NULL,NULL,NULL,1,'checkout',1,'shop','key-needs-attention','4f574258cd72082b7c58e4e3ef5dc2764246bdddab0d3236139ef00ad1446d41','49f164e9-c395-4602-b9b3-18bfcba8e5d8','{"order_id":"ord-needs-attention","customer_id":"cus-7","currency":"EUR","items":[{"sku":"TSHIRT-M","quantity":2,"unit_price":1999}],"payment_method":"tok_visa","shipping_address":{"name":"Ada L.","line1":"1 Main St","line2":null,"city":"Paris","region":null,"postal_code":"75001","country":"FR"},"metadata":{},"amount":3998,"simulate":"shipping.execute=rejected, payment.compensate=not_reversible"}',NULL);
INSERT INTO "saga" VALUES('01a221e6-f77e-7560-8ae7-c85e0ff8194c','running','ord-backing-off','cus-7','2026-11-28T11:25:14.495100Z','2026-11-28T11:25:14.495100Z',NULL,'2026-11-28T11:25:14.495100Z','vm:18588:01a221e6-b05a-70da-9e91-30ee0f0901b7',1,'checkout',1,'shop','key-backing-off','d07f357b321e976f78de4312e1d786cf0bd070dcf115b1779d1fa5827ce169f3','5bbbcf68-984c-43b0-977d-22843a75ef5e','{"order_id":"ord-backing-off","customer_id":"cus-7","currency":"EUR","items":[{"sku":"TSHIRT-M","quantity":2,"unit_price":1999}],"payment_method":"tok_visa","shipping_address":{"name":"Ada L.","line1":"1 Main St","line2":null,"city":"Paris","region":null,"postal_code":"75001","country":"FR"},"metadata":{},"amount":3998,"simulate":"inventory.execute=unavailable:2"}',NULL);
INSERT INTO "saga" VALUES('01a221e6-f85a-72ca-9b91-2e5c9e4ad70f','compensating','ord-compensating','cus-7','2026-11-28T11:25:14.715093Z','2026-11-28T11:25:14.729021Z',NULL,'2026-11-28T11:25:14.729128Z','vm:18588:01a221e6-b05a-70da-9e91-30ee0f0901b7',1,'checkout',1,'shop','key-compensating','13f5127277b7bce70de2481c23ebc03dc6d35b1722b72750c1c42d94f0e090f9','0b880f37-625a-4f9f-9ab9-875c4c46f3cf','{"order_id":"ord-compensating","customer_id":"cus-7","currency":"EUR","items":[{"sku":"TSHIRT-M","quantity":2,"unit_price":1999}],"payment_method":"tok_visa","shipping_address":{"name":"Ada L.","line1":"1 Main St","line2":null,"city":"Paris","region":null,"postal_code":"75001","country":"FR"},"metadata":{},"amount":3998,"simulate":"shipping.execute=rejected, inventory.compensate=unavailable:2"}',NULL);
INSERT INTO "saga" VALUES('01a221e6-f946-77a2-b58b-0197121e1d3d','running','ord-running','cus-7','2026-11-28T11:25:14.951069Z','2026-11-28T11:25:14.951069Z',NULL,'2026-11-28T11:25:14.951069Z','vm:18588:01a221e6-b05a-70da-9e91-30ee0f0901b7',1,'checkout',1,'shop','key-running','b29ea250cf9fd37f05aa13fa8f169bae835202992a72abfcc0bea994d3f18465','4d0ac800-2f84-4632-87bd-6ba6511ed2d8','{"order_id":"ord-running","customer_id":"cus-7","currency":"EUR","items":[{"sku":"TSHIRT-M","quantity":2,"unit_price":1999}],"payment_method":"tok_visa","shipping_address":{"name":"Ada L.","line1":"1 Main St","line2":null,"city":"Paris","region":null,"postal_code":"75001","country":"FR"},"metadata":{},"amount":3998,"simulate":"payment.execute=timeout_after_effect"}',NULL);
CREATE TABLE saga_log (
	saga_id VARCHAR(36) NOT NULL, 
	seq INTEGER NOT NULL, 
	epoch INTEGER NOT NULL, 
	at VARCHAR(27) NOT NULL, 
	event VARCHAR(32) NOT NULL, 
	step TEXT, 
	attempt INTEGER, 
	data JSON NOT NULL, 
	CONSTRAINT pk_saga_log PRIMARY KEY (saga_id, seq), 
	CONSTRAINT ck_saga_log_seq_counts_from_one CHECK (seq >= 1)
)
 WITHOUT ROWID

;
INSERT INTO "saga_log" VALUES('01a221e6-f447-73e4-af62-5cb88db382b2',1,1,'2026-11-28T11:25:13.672061Z','saga_started',NULL,NULL,'{}');
INSERT INTO "saga_log" VALUES('01a221e6-f447-73e4-af62-5cb88db382b2',2,1,'2026-11-28T11:25:13.715622Z','step_succeeded','payment',1,'{"result":{"payment_id":"pay_e97b89369ede0f1f0132c03b","amount":3998,"currency":"EUR","status":"captured"},"duration_ms":17.199}');
INSERT INTO "saga_log" VALUES('01a221e6-f447-73e4-af62-5cb88db382b2',3,1,'2026-11-28T11:25:13.750085Z','step_succeeded','inventory',1,'{"result":{"reservation_id":"res_07e49e6247da2a42c5a13892","status":"reserved"},"duration_ms":3.716}');
INSERT INTO "saga_log" VALUES('01a221e6-f447-73e4-af62-5cb88db382b2',4,1,'2026-11-28T11:25:13.766127Z','step_succeeded','shipping',1,'{"result":{"shipment_id":"shp_0713e00a3fbdee8a32649fef","status":"booked","carrier":"Sandbox Post","tracking_number":"SP_0713E00A3FBDEE8A32649FEF"},"duration_ms":11.59}');
INSERT INTO "saga_log" VALUES('01a221e6-f447-73e4-af62-5cb88db382b2',5,1,'2026-11-28T11:25:13.766215Z','saga_completed',NULL,NULL,'{}');
INSERT INTO "saga_log" VALUES('01a221e6-f5c2-7c50-a72b-eb59905da49a',1,1,'2026-11-28T11:25:14.051056Z','saga_started',NULL,NULL,'{}');
INSERT INTO "saga_log" VALUES('01a221e6-f5c2-7c50-a72b-eb59905da49a',2,1,'2026-11-28T11:25:14.055252Z','step_succeeded','payment',1,'{"result":{"payment_id":"pay_3f3fffc699a699e6fd15b07f","amount":3998,"currency":"EUR","status":"captured"},"duration_ms":1.099}');
INSERT INTO "saga_log" VALUES('01a221e6-f5c2-7c50-a72b-eb59905da49a',3,1,'2026-11-28T11:25:14.075580Z','step_failed','inventory',1,'{"error":{"code":"out_of_stock","message":"Not enough on the shelf.","kind":"refused"},"duration_ms":0.991}');
INSERT INTO "saga_log" VALUES('01a221e6-f5c2-7c50-a72b-eb59905da49a',4,1,'2026-11-28T11:25:14.091971Z','step_compensated','payment',1,'{"result":{"status":"refunded"},"duration_ms":1.152}');
INSERT INTO "saga_log" VALUES('01a221e6-f5c2-7c50-a72b-eb59905da49a',5,1,'2026-11-28T11:25:14.092062Z','saga_compensated',NULL,NULL,'{}');
INSERT INTO "saga_log" VALUES('01a221e6-f69e-7957-89b6-3fe7662ae792',1,1,'2026-11-28T11:25:14.271046Z','saga_started',NULL,NULL,'{}');
INSERT INTO "saga_log" VALUES('01a221e6-f69e-7957-89b6-3fe7662ae792',2,1,'2026-11-28T11:25:14.283753Z','step_succeeded','payment',1,'{"result":{"payment_id":"pay_713cb31b6fce1bf6dd9d530b","amount":3998,"currency":"EUR","status":"captured"},"duration_ms":1.38}');
INSERT INTO "saga_log" VALUES('01a221e6-f69e-7957-89b6-3fe7662ae792',3,1,'2026-11-28T11:25:14.285955Z','step_succeeded','inventory',1,'{"result":{"reservation_id":"res_2ea62a400cb9638d3d55c69b","status":"reserved"},"duration_ms":0.896}');
INSERT INTO "saga_log" VALUES('01a221e6-f69e-7957-89b6-3fe7662ae792',4,1,'2026-11-28T11:25:14.289178Z','step_failed','shipping',1,'{"error":{"code":"address_unserviceable","message":"Nothing is delivered to that address.","kind":"refused"},"duration_ms":1.049}');
INSERT INTO "saga_log" VALUES('01a221e6-f69e-7957-89b6-3fe7662ae792',5,1,'2026-11-28T11:25:14.294970Z','step_compensated','inventory',1,'{"result":{"status":"released"},"duration_ms":1.048}');
INSERT INTO "saga_log" VALUES('01a221e6-f69e-7957-89b6-3fe7662ae792',6,1,'2026-11-28T11:25:14.323093Z','compensation_failed','payment',1,'{"error":{"code":"not_reversible","message":"It can''t be undone any more.","kind":"unusable"},"duration_ms":0.881}');
INSERT INTO "saga_log" VALUES('01a221e6-f69e-7957-89b6-3fe7662ae792',7,1,'2026-11-28T11:25:14.323181Z','saga_needs_attention',NULL,NULL,'{}');
INSERT INTO "saga_log" VALUES('01a221e6-f77e-7560-8ae7-c85e0ff8194c',1,1,'2026-11-28T11:25:14.495100Z','saga_started',NULL,NULL,'{}');
INSERT INTO "saga_log" VALUES('01a221e6-f77e-7560-8ae7-c85e0ff8194c',2,1,'2026-11-28T11:25:14.504845Z','step_succeeded','payment',1,'{"result":{"payment_id":"pay_5cbacffc32592d1785b1d615","amount":3998,"currency":"EUR","status":"captured"},"duration_ms":8.016}');
INSERT INTO "saga_log" VALUES('01a221e6-f77e-7560-8ae7-c85e0ff8194c',3,1,'2026-11-28T11:25:14.528362Z','step_retried','inventory',1,'{"error":{"code":"unavailable","message":"The service is down.","kind":"unavailable"},"outcome":"unavailable","next_action_at":"2026-11-28T11:25:28.262098Z","duration_ms":1.894}');
INSERT INTO "saga_log" VALUES('01a221e6-f85a-72ca-9b91-2e5c9e4ad70f',1,1,'2026-11-28T11:25:14.715093Z','saga_started',NULL,NULL,'{}');
INSERT INTO "saga_log" VALUES('01a221e6-f85a-72ca-9b91-2e5c9e4ad70f',2,1,'2026-11-28T11:25:14.724872Z','step_succeeded','payment',1,'{"result":{"payment_id":"pay_8f9087d1402816735a2c3433","amount":3998,"currency":"EUR","status":"captured"},"duration_ms":1.234}');
INSERT INTO "saga_log" VALUES('01a221e6-f85a-72ca-9b91-2e5c9e4ad70f',3,1,'2026-11-28T11:25:14.727491Z','step_succeeded','inventory',1,'{"result":{"reservation_id":"res_060ce9b526a56214421a9fcf","status":"reserved"},"duration_ms":0.715}');
INSERT INTO "saga_log" VALUES('01a221e6-f85a-72ca-9b91-2e5c9e4ad70f',4,1,'2026-11-28T11:25:14.729021Z','step_failed','shipping',1,'{"error":{"code":"address_unserviceable","message":"Nothing is delivered to that address.","kind":"refused"},"duration_ms":0.611}');
INSERT INTO "saga_log" VALUES('01a221e6-f85a-72ca-9b91-2e5c9e4ad70f',5,1,'2026-11-28T11:25:14.731741Z','compensation_retried','inventory',1,'{"error":{"code":"unavailable","message":"The service is down.","kind":"unavailable"},"next_action_at":"2026-11-28T11:25:17.971264Z","duration_ms":0.538}');
INSERT INTO "saga_log" VALUES('01a221e6-f946-77a2-b58b-0197121e1d3d',1,1,'2026-11-28T11:25:14.951069Z','saga_started',NULL,NULL,'{}');
INSERT INTO "saga_log" VALUES('01a221e6-f946-77a2-b58b-0197121e1d3d',2,1,'2026-11-28T11:25:14.953517Z','step_retried','payment',1,'{"error":{"code":"timeout","message":"The service did not answer in time.","kind":"timeout"},"outcome":"unknown","next_action_at":"2026-11-28T11:25:15.502773Z","duration_ms":0.891}');
INSERT INTO "saga_log" VALUES('01a221e6-f946-77a2-b58b-0197121e1d3d',3,1,'2026-11-28T11:25:15.504124Z','step_retried','payment',2,'{"error":{"code":"timeout","message":"The service did not answer in time.","kind":"timeout"},"outcome":"unknown","next_action_at":"2026-11-28T11:25:32.080948Z","duration_ms":0.921}');
CREATE TABLE schema_floor (
	revision TEXT NOT NULL, 
	CONSTRAINT pk_schema_floor PRIMARY KEY (revision)
);
INSERT INTO "schema_floor" VALUES('0009');
CREATE TABLE session (
	digest VARCHAR(64) NOT NULL, 
	key_id VARCHAR(36) NOT NULL, 
	created_at VARCHAR(27) NOT NULL, 
	expires_at VARCHAR(27) NOT NULL, 
	CONSTRAINT pk_session PRIMARY KEY (digest)
);
INSERT INTO "session" VALUES('5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e','01a221e6-d293-704c-a62b-de8cbeb17d48','2026-11-28T11:25:07.480270Z','2026-11-28T23:25:07.480270Z');
CREATE TABLE webhook_delivery (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	endpoint TEXT NOT NULL, 
	status VARCHAR(9) NOT NULL, 
	saga_id VARCHAR(36) NOT NULL, 
	seq INTEGER NOT NULL, 
	type TEXT NOT NULL, 
	at VARCHAR(27) NOT NULL, 
	attempts INTEGER NOT NULL, 
	next_attempt_at VARCHAR(27), 
	delivered_at VARCHAR(27), 
	last_status INTEGER, 
	last_error TEXT, 
	claimed_by TEXT, 
	claimed_until VARCHAR(27), 
	CONSTRAINT ck_webhook_delivery_status_known CHECK (status IN ('pending', 'delivered', 'failed')), 
	CONSTRAINT ck_webhook_delivery_pending_has_next_attempt CHECK ((status = 'pending') = (next_attempt_at IS NOT NULL))
);
INSERT INTO "webhook_delivery" VALUES(1,'shop','pending','01a221e6-f447-73e4-af62-5cb88db382b2',5,'checkout.completed','2026-11-28T11:25:13.766215Z',1,'2026-11-28T11:25:19.537604Z',NULL,NULL,'Not reached, or no whole answer (ClientConnectorError).',NULL,NULL);
INSERT INTO "webhook_delivery" VALUES(2,'shop','pending','01a221e6-f5c2-7c50-a72b-eb59905da49a',5,'checkout.compensated','2026-11-28T11:25:14.092062Z',1,'2026-11-28T11:25:20.016434Z',NULL,NULL,'Not reached, or no whole answer (ClientConnectorError).',NULL,NULL);
INSERT INTO "webhook_delivery" VALUES(3,'shop','pending','01a221e6-f69e-7957-89b6-3fe7662ae792',7,'checkout.needs_attention','2026-11-28T11:25:14.323181Z',1,'2026-11-28T11:25:20.876437Z',NULL,NULL,'Not reached, or no whole answer (ClientConnectorError).',NULL,NULL);
CREATE TABLE webhook_endpoint (
	name TEXT NOT NULL, 
	state VARCHAR(8) NOT NULL, 
	reason TEXT, 
	changed_at VARCHAR(27) NOT NULL, 
	xid BIGINT NOT NULL, 
	position BIGINT NOT NULL, 
	CONSTRAINT pk_webhook_endpoint PRIMARY KEY (name), 
	CONSTRAINT ck_webhook_endpoint_state_known CHECK (state IN ('enabled', 'disabled'))
);
INSERT INTO "webhook_endpoint" VALUES('shop','enabled',NULL,'2026-11-28T11:24:56.314673Z',0,3);
CREATE UNIQUE INDEX uq_saga_idempotency_key ON saga (caller, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE UNIQUE INDEX uq_saga_order ON saga (caller, order_id) WHERE status <> 'compensated';
CREATE INDEX ix_saga_order_compensated ON saga (caller, order_id) WHERE status = 'compensated';
CREATE INDEX ix_saga_customer ON saga (caller, customer_id, id);
CREATE INDEX ix_saga_due ON saga (next_action_at) WHERE status IN ('running', 'compensating');
CREATE INDEX ix_saga_needs_attention ON saga (id) WHERE status = 'needs_attention';
CREATE UNIQUE INDEX uq_api_key_prefix ON api_key (prefix);
CREATE INDEX ix_saga_cancel ON saga (id) WHERE cancel IS NOT NULL AND status = 'running';
CREATE UNIQUE INDEX uq_outbox_event ON outbox (saga_id, seq);
CREATE INDEX ix_outbox_feed ON outbox (xid, position);
CREATE INDEX ix_outbox_caller ON outbox (caller, xid, position);
CREATE UNIQUE INDEX uq_webhook_delivery_event ON webhook_delivery (endpoint, saga_id, seq);
CREATE INDEX ix_webhook_delivery_due ON webhook_delivery (endpoint, next_attempt_at) WHERE status = 'pending';
CREATE INDEX ix_webhook_delivery_status ON webhook_delivery (status, id);
CREATE INDEX ix_saga_log_given_up ON saga_log (step, saga_id) WHERE event IN ('step_failed', 'step_unknown', 'compensation_failed');
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('outbox',3);
INSERT INTO "sqlite_sequence" VALUES('webhook_delivery',3);
COMMIT;
