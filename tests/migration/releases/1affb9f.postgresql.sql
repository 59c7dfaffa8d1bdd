SELECT pg_catalog.set_config('search_path', '', false);
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.api_key (
    id uuid NOT NULL,
    prefix character varying(8) NOT NULL,
    digest character varying(64) NOT NULL,
    caller text NOT NULL,
    who text NOT NULL,
    scopes json NOT NULL,
    everyone boolean NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    last_used_at timestamp with time zone,
    created_by text,
    created_by_key uuid
);
CREATE TABLE public.log_clock (
    task text NOT NULL,
    boot text NOT NULL,
    counted double precision NOT NULL,
    at timestamp with time zone
);
CREATE TABLE public.outbox (
    "position" bigint NOT NULL,
    saga_id uuid NOT NULL,
    seq integer NOT NULL,
    type text NOT NULL,
    caller text NOT NULL,
    at timestamp with time zone NOT NULL,
    xid bigint DEFAULT ((pg_current_xact_id())::text)::bigint NOT NULL
);
CREATE SEQUENCE public.outbox_position_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.outbox_position_seq OWNED BY public.outbox."position";
CREATE TABLE public.replica (
    id text NOT NULL,
    lease_expires_at timestamp with time zone NOT NULL,
    renewed_at timestamp with time zone NOT NULL
);
CREATE TABLE public.retention (
    task text NOT NULL,
    "position" uuid NOT NULL
);
CREATE TABLE public.retention_later (
    saga_id uuid NOT NULL
);
CREATE TABLE public.saga (
    id uuid NOT NULL,
    status character varying(16) NOT NULL,
    order_id text,
    customer_id text,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone,
    next_action_at timestamp with time zone,
    owner text,
    epoch integer NOT NULL,
    definition text NOT NULL,
    version integer NOT NULL,
    caller text NOT NULL,
    idempotency_key text,
    fingerprint text,
    request_id text,
    input json NOT NULL,
    cancel json,
    CONSTRAINT ck_saga_epoch_counts_from_one CHECK ((epoch >= 1)),
    CONSTRAINT ck_saga_final_is_finished CHECK ((((status)::text = ANY ((ARRAY['completed'::character varying, 'compensated'::character varying])::text[])) = (finished_at IS NOT NULL))),
    CONSTRAINT ck_saga_status_known CHECK (((status)::text = ANY ((ARRAY['running'::character varying, 'compensating'::character varying, 'completed'::character varying, 'compensated'::character varying, 'needs_attention'::character varying])::text[]))),
    CONSTRAINT ck_saga_unfinished_has_next_action CHECK ((((status)::text = ANY ((ARRAY['running'::character varying, 'compensating'::character varying])::text[])) = (next_action_at IS NOT NULL)))
);
CREATE TABLE public.saga_log (
    saga_id uuid NOT NULL,
    seq integer NOT NULL,
    epoch integer NOT NULL,
    at timestamp with time zone NOT NULL,
    event character varying(32) NOT NULL,
    step text,
    attempt integer,
    data json NOT NULL,
    CONSTRAINT ck_saga_log_seq_counts_from_one CHECK ((seq >= 1))
);
CREATE TABLE public.schema_floor (
    revision text NOT NULL
);
CREATE TABLE public.session (
    digest character varying(64) NOT NULL,
    key_id uuid NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL
);
CREATE TABLE public.webhook_delivery (
    id bigint NOT NULL,
    endpoint text NOT NULL,
    status character varying(9) NOT NULL,
    saga_id uuid NOT NULL,
    seq integer NOT NULL,
    type text NOT NULL,
    at timestamp with time zone NOT NULL,
    attempts integer NOT NULL,
    next_attempt_at timestamp with time zone,
    delivered_at timestamp with time zone,
    last_status integer,
    last_error text,
    claimed_by text,
    claimed_until timestamp with time zone,
    CONSTRAINT ck_webhook_delivery_pending_has_next_attempt CHECK ((((status)::text = 'pending'::text) = (next_attempt_at IS NOT NULL))),
    CONSTRAINT ck_webhook_delivery_status_known CHECK (((status)::text = ANY ((ARRAY['pending'::character varying, 'delivered'::character varying, 'failed'::character varying])::text[])))
);
CREATE SEQUENCE public.webhook_delivery_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.webhook_delivery_id_seq OWNED BY public.webhook_delivery.id;
CREATE TABLE public.webhook_endpoint (
    name text NOT NULL,
    state character varying(8) NOT NULL,
    reason text,
    changed_at timestamp with time zone NOT NULL,
    xid bigint NOT NULL,
    "position" bigint NOT NULL,
    CONSTRAINT ck_webhook_endpoint_state_known CHECK (((state)::text = ANY ((ARRAY['enabled'::character varying, 'disabled'::character varying])::text[])))
);
ALTER TABLE ONLY public.outbox ALTER COLUMN "position" SET DEFAULT nextval('public.outbox_position_seq'::regclass);
ALTER TABLE ONLY public.webhook_delivery ALTER COLUMN id SET DEFAULT nextval('public.webhook_delivery_id_seq'::regclass);
INSERT INTO public.alembic_version (version_num) VALUES ('0010');
INSERT INTO public.api_key (id, prefix, digest, caller, who, scopes, everyone, created_at, expires_at, revoked_at, last_used_at, created_by, created_by_key) VALUES ('01a221e7-69eb-7390-8563-54e903de391a', '0en05rh5', 'f6bfee43914800f1fd5a1b8401eecbb86a9cff6dcb814f5aff99e8c4ce2f8ffa', 'shop', 'a-test', '["checkout", "operate", "read"]', false, '2026-11-28 11:25:43.787594+00', NULL, NULL, '2026-11-28 11:25:52.703924+00', 'command line', NULL);
INSERT INTO public.log_clock (task, boot, counted, at) VALUES ('log', '', 0, NULL);
INSERT INTO public.outbox ("position", saga_id, seq, type, caller, at, xid) VALUES (1, '01a221e7-8cd0-74f9-90ce-f60ad1c62bd1', 5, 'checkout.completed', 'shop', '2026-11-28 11:25:52.815812+00', 10);
INSERT INTO public.outbox ("position", saga_id, seq, type, caller, at, xid) VALUES (2, '01a221e7-8db1-7e35-9d31-dca7bbd3cc80', 5, 'checkout.compensated', 'shop', '2026-11-28 11:25:52.961358+00', 10);
INSERT INTO public.outbox ("position", saga_id, seq, type, caller, at, xid) VALUES (3, '01a221e7-8e0d-7752-8351-49952844cef8', 7, 'checkout.needs_attention', 'shop', '2026-11-28 11:25:53.062095+00', 10);
INSERT INTO public.replica (id, lease_expires_at, renewed_at) VALUES ('vm:19010:01a221e7-3e74-71ca-ba29-b54dd000d4bf', '2026-11-28 11:26:03.211377+00', '2026-11-28 11:25:53.211377+00');
INSERT INTO public.retention (task, "position") VALUES ('redact', '00000000-0000-0000-0000-000000000000');
INSERT INTO public.saga (id, status, order_id, customer_id, created_at, updated_at, finished_at, next_action_at, owner, epoch, definition, version, caller, idempotency_key, fingerprint, request_id, input, cancel) VALUES ('01a221e7-8cd0-74f9-90ce-f60ad1c62bd1', 'completed', 'ord-completed', 'cus-7', '2026-11-28 11:25:52.720617+00', '2026-11-28 11:25:52.815812+00', '2026-11-28 11:25:52.815812+00', NULL, NULL, 1, 'checkout', 1, 'shop', 'key-completed', '6ce09154570e769fc41ec0a273697ad953ad0d52f89dc4acb6d9e4925730c95f', 'a09fa011-250f-4d72-a9a5-5f2b712586f6', '{"order_id":"ord-completed","customer_id":"cus-7","currency":"EUR","items":[{"sku":"TSHIRT-M","quantity":2,"unit_price":1999}],"payment_method":"tok_visa","shipping_address":{"name":"Ada L.","line1":"1 Main St","line2":null,"city":"Paris","region":null,"postal_code":"75001","country":"FR"},"metadata":{},"amount":3998}', NULL);
INSERT INTO public.saga (id, status, order_id, customer_id, created_at, updated_at, finished_at, next_action_at, owner, epoch, definition, version, caller, idempotency_key, fingerprint, request_id, input, cancel) VALUES ('01a221e7-8db1-7e35-9d31-dca7bbd3cc80', 'compensated', 'ord-compensated', 'cus-7', '2026-11-28 11:25:52.946046+00', '2026-11-28 11:25:52.961358+00', '2026-11-28 11:25:52.961358+00', NULL, NULL, 1, 'checkout', 1, 'shop', 'key-compensated', 'a3b0d62a77048e35f225f20a01c0f23c503e6e7c505f2dfd11560210a215e297', '2cb17a67-97ef-4e14-8b47-7d9a183cf84e', '{"order_id":"ord-compensated","customer_id":"cus-7","currency":"EUR","items":[{"sku":"TSHIRT-M","quantity":2,"unit_price":1999}],"payment_method":"tok_visa","shipping_address":{"name":"Ada L.","line1":"1 Main St","line2":null,"city":"Paris","region":null,"postal_code":"75001","country":"FR"},"metadata":{},"amount":3998,"simulate":"inventory.execute=rejected"}', NULL);
INSERT INTO public.saga (id, status, order_id, customer_id, created_at, updated_at, finished_at, next_action_at, owner, epoch, definition, version, caller, idempotency_key, fingerprint, request_id, input, cancel) VALUES ('01a221e7-8e0d-7752-8351-49952844cef8', 'needs_attention', 'ord-needs-attention', 'cus-7', '2026-11-28 11:25:53.037882+00', '2026-11-28 11:25:53.062095+00', NULL, NULL, NULL, 1, 'checkout', 1, 'shop', 'key-needs-attention', '4f574258cd72082b7c58e4e3ef5dc2764246bdddab0d3236139ef00ad1446d41', '06917f2b-fcbb-4f58-bcc3-c8edae99e63f', '{"order_id":"ord-needs-attention","customer_id":"cus-7","currency":"EUR","items":[{"sku":"TSHIRT-M","quantity":2,"unit_price":1999}],"payment_method":"tok_visa","shipping_address":{"name":"Ada L.","line1":"1 Main St","line2":null,"city":"Paris","region":null,"postal_code":"75001","country":"FR"},"metadata":{},"amount":3998,"simulate":"shipping.execute=rejected, payment.compensate=not_reversible"}', NULL);
INSERT INTO public.saga (id, status, order_id, customer_id, created_at, updated_at, finished_at, next_action_at, owner, epoch, definition, version, caller, idempotency_key, fingerprint, request_id, input, cancel) VALUES ('01a221e7-8e40-796f-a81e-f8529f704111', 'running', 'ord-backing-off', 'cus-7', '2026-11-28 11:25:53.08829+00', '2026-11-28 11:25:53.108115+00', NULL, '2026-11-28 11:26:16.338934+00', NULL, 1, 'checkout', 1, 'shop', 'key-backing-off', 'd07f357b321e976f78de4312e1d786cf0bd070dcf115b1779d1fa5827ce169f3', '733197ef-bad0-41d6-85de-4c16e305e018', '{"order_id":"ord-backing-off","customer_id":"cus-7","currency":"EUR","items":[{"sku":"TSHIRT-M","quantity":2,"unit_price":1999}],"payment_method":"tok_visa","shipping_address":{"name":"Ada L.","line1":"1 Main St","line2":null,"city":"Paris","region":null,"postal_code":"75001","country":"FR"},"metadata":{},"amount":3998,"simulate":"inventory.execute=unavailable:2"}', NULL);
INSERT INTO public.saga (id, status, order_id, customer_id, created_at, updated_at, finished_at, next_action_at, owner, epoch, definition, version, caller, idempotency_key, fingerprint, request_id, input, cancel) VALUES ('01a221e7-8f67-7996-beac-fd20fec1ec8b', 'compensating', 'ord-compensating', 'cus-7', '2026-11-28 11:25:53.383382+00', '2026-11-28 11:25:53.411985+00', NULL, '2026-11-28 11:25:53.412077+00', 'vm:19010:01a221e7-3e74-71ca-ba29-b54dd000d4bf', 1, 'checkout', 1, 'shop', 'key-compensating', '13f5127277b7bce70de2481c23ebc03dc6d35b1722b72750c1c42d94f0e090f9', 'aaf9521a-a3e1-4e23-8d33-000d57ad161a', '{"order_id":"ord-compensating","customer_id":"cus-7","currency":"EUR","items":[{"sku":"TSHIRT-M","quantity":2,"unit_price":1999}],"payment_method":"tok_visa","shipping_address":{"name":"Ada L.","line1":"1 Main St","line2":null,"city":"Paris","region":null,"postal_code":"75001","country":"FR"},"metadata":{},"amount":3998,"simulate":"shipping.execute=rejected, inventory.compensate=unavailable:2"}', NULL);
INSERT INTO public.saga (id, status, order_id, customer_id, created_at, updated_at, finished_at, next_action_at, owner, epoch, definition, version, caller, idempotency_key, fingerprint, request_id, input, cancel) VALUES ('01a221e7-8fff-7a0f-9f87-bb4d091705ed', 'running', 'ord-running', 'cus-7', '2026-11-28 11:25:53.535208+00', '2026-11-28 11:25:53.535208+00', NULL, '2026-11-28 11:25:53.535208+00', 'vm:19010:01a221e7-3e74-71ca-ba29-b54dd000d4bf', 1, 'checkout', 1, 'shop', 'key-running', 'b29ea250cf9fd37f05aa13fa8f169bae835202992a72abfcc0bea994d3f18465', '3d195a66-5603-4b67-b69a-e093846bdd40', '{"order_id":"ord-running","customer_id":"cus-7","currency":"EUR","items":[{"sku":"TSHIRT-M","quantity":2,"unit_price":1999}],"payment_method":"tok_visa","shipping_address":{"name":"Ada L.","line1":"1 Main St","line2":null,"city":"Paris","region":null,"postal_code":"75001","country":"FR"},"metadata":{},"amount":3998,"simulate":"payment.execute=timeout_after_effect"}', NULL);
INSERT INTO public.saga_log (saga_id, seq, epoch, at, event, step, attempt, data) VALUES ('01a221e7-8cd0-74f9-90ce-f60ad1c62bd1', 1, 1, '2026-11-28 11:25:52.720617+00', 'saga_started', NULL, NULL, '{}');
INSERT INTO public.saga_log (saga_id, seq, epoch, at, event, step, attempt, data) VALUES ('01a221e7-8cd0-74f9-90ce-f60ad1c62bd1', 2, 1, '2026-11-28 11:25:52.809536+00', 'step_succeeded', 'payment', 1, '{"result":{"payment_id":"pay_060cebc059f8fc59e740c518","amount":3998,"currency":"EUR","status":"captured"},"duration_ms":40.153}');
INSERT INTO public.saga_log (saga_id, seq, epoch, at, event, step, attempt, data) VALUES ('01a221e7-8cd0-74f9-90ce-f60ad1c62bd1', 3, 1, '2026-11-28 11:25:52.813156+00', 'step_succeeded', 'inventory', 1, '{"result":{"reservation_id":"res_bb0e5b7bc847c12f949c09fd","status":"reserved"},"duration_ms":1.213}');
INSERT INTO public.saga_log (saga_id, seq, epoch, at, event, step, attempt, data) VALUES ('01a221e7-8cd0-74f9-90ce-f60ad1c62bd1', 4, 1, '2026-11-28 11:25:52.815755+00', 'step_succeeded', 'shipping', 1, '{"result":{"shipment_id":"shp_ba6cf19ce35f5c27be196d43","status":"booked","carrier":"Sandbox Post","tracking_number":"SP_BA6CF19CE35F5C27BE196D43"},"duration_ms":0.81}');
INSERT INTO public.saga_log (saga_id, seq, epoch, at, event, step, attempt, data) VALUES ('01a221e7-8cd0-74f9-90ce-f60ad1c62bd1', 5, 1, '2026-11-28 11:25:52.815812+00', 'saga_completed', NULL, NULL, '{}');
INSERT INTO public.saga_log (saga_id, seq, epoch, at, event, step, attempt, data) VALUES ('01a221e7-8db1-7e35-9d31-dca7bbd3cc80', 1, 1, '2026-11-28 11:25:52.946046+00', 'saga_started', NULL, NULL, '{}');
INSERT INTO public.saga_log (saga_id, seq, epoch, at, event, step, attempt, data) VALUES ('01a221e7-8db1-7e35-9d31-dca7bbd3cc80', 2, 1, '2026-11-28 11:25:52.953533+00', 'step_succeeded', 'payment', 1, '{"result":{"payment_id":"pay_513e897b36061f0cd8923cb9","amount":3998,"currency":"EUR","status":"captured"},"duration_ms":5.134}');
INSERT INTO public.saga_log (saga_id, seq, epoch, at, event, step, attempt, data) VALUES ('01a221e7-8db1-7e35-9d31-dca7bbd3cc80', 3, 1, '2026-11-28 11:25:52.958807+00', 'step_failed', 'inventory', 1, '{"error":{"code":"out_of_stock","message":"Not enough on the shelf.","kind":"refused"},"duration_ms":0.902}');
INSERT INTO public.saga_log (saga_id, seq, epoch, at, event, step, attempt, data) VALUES ('01a221e7-8db1-7e35-9d31-dca7bbd3cc80', 4, 1, '2026-11-28 11:25:52.961302+00', 'step_compensated', 'payment', 1, '{"result":{"status":"refunded"},"duration_ms":0.934}');
INSERT INTO public.saga_log (saga_id, seq, epoch, at, event, step, attempt, data) VALUES ('01a221e7-8db1-7e35-9d31-dca7bbd3cc80', 5, 1, '2026-11-28 11:25:52.961358+00', 'saga_compensated', NULL, NULL, '{}');
INSERT INTO public.saga_log (saga_id, seq, epoch, at, event, step, attempt, data) VALUES ('01a221e7-8e0d-7752-8351-49952844cef8', 1, 1, '2026-11-28 11:25:53.037882+00', 'saga_started', NULL, NULL, '{}');
INSERT INTO public.saga_log (saga_id, seq, epoch, at, event, step, attempt, data) VALUES ('01a221e7-8e0d-7752-8351-49952844cef8', 2, 1, '2026-11-28 11:25:53.051516+00', 'step_succeeded', 'payment', 1, '{"result":{"payment_id":"pay_4875b3103bc09ef94494b4c8","amount":3998,"currency":"EUR","status":"captured"},"duration_ms":1.204}');
INSERT INTO public.saga_log (saga_id, seq, epoch, at, event, step, attempt, data) VALUES ('01a221e7-8e0d-7752-8351-49952844cef8', 3, 1, '2026-11-28 11:25:53.058405+00', 'step_succeeded', 'inventory', 1, '{"result":{"reservation_id":"res_8623a51f67337571480da381","status":"reserved"},"duration_ms":0.731}');
INSERT INTO public.saga_log (saga_id, seq, epoch, at, event, step, attempt, data) VALUES ('01a221e7-8e0d-7752-8351-49952844cef8', 4, 1, '2026-11-28 11:25:53.059627+00', 'step_failed', 'shipping', 1, '{"error":{"code":"address_unserviceable","message":"Nothing is delivered to that address.","kind":"refused"},"duration_ms":0.398}');
INSERT INTO public.saga_log (saga_id, seq, epoch, at, event, step, attempt, data) VALUES ('01a221e7-8e0d-7752-8351-49952844cef8', 5, 1, '2026-11-28 11:25:53.061159+00', 'step_compensated', 'inventory', 1, '{"result":{"status":"released"},"duration_ms":0.602}');
INSERT INTO public.saga_log (saga_id, seq, epoch, at, event, step, attempt, data) VALUES ('01a221e7-8e0d-7752-8351-49952844cef8', 6, 1, '2026-11-28 11:25:53.062057+00', 'compensation_failed', 'payment', 1, '{"error":{"code":"not_reversible","message":"It can''t be undone any more.","kind":"unusable"},"duration_ms":0.305}');
INSERT INTO public.saga_log (saga_id, seq, epoch, at, event, step, attempt, data) VALUES ('01a221e7-8e0d-7752-8351-49952844cef8', 7, 1, '2026-11-28 11:25:53.062095+00', 'saga_needs_attention', NULL, NULL, '{}');
INSERT INTO public.saga_log (saga_id, seq, epoch, at, event, step, attempt, data) VALUES ('01a221e7-8e40-796f-a81e-f8529f704111', 1, 1, '2026-11-28 11:25:53.08829+00', 'saga_started', NULL, NULL, '{}');
INSERT INTO public.saga_log (saga_id, seq, epoch, at, event, step, attempt, data) VALUES ('01a221e7-8e40-796f-a81e-f8529f704111', 2, 1, '2026-11-28 11:25:53.09407+00', 'step_succeeded', 'payment', 1, '{"result":{"payment_id":"pay_23ef931843a095faf6981667","amount":3998,"currency":"EUR","status":"captured"},"duration_ms":0.854}');
INSERT INTO public.saga_log (saga_id, seq, epoch, at, event, step, attempt, data) VALUES ('01a221e7-8e40-796f-a81e-f8529f704111', 3, 1, '2026-11-28 11:25:53.108115+00', 'step_retried', 'inventory', 1, '{"error":{"code":"unavailable","message":"The service is down.","kind":"unavailable"},"outcome":"unavailable","next_action_at":"2026-11-28T11:26:16.338934Z","duration_ms":9.885}');
INSERT INTO public.saga_log (saga_id, seq, epoch, at, event, step, attempt, data) VALUES ('01a221e7-8f67-7996-beac-fd20fec1ec8b', 1, 1, '2026-11-28 11:25:53.383382+00', 'saga_started', NULL, NULL, '{}');
INSERT INTO public.saga_log (saga_id, seq, epoch, at, event, step, attempt, data) VALUES ('01a221e7-8f67-7996-beac-fd20fec1ec8b', 2, 1, '2026-11-28 11:25:53.395484+00', 'step_succeeded', 'payment', 1, '{"result":{"payment_id":"pay_0fcd7a0d32b2b9141981dd05","amount":3998,"currency":"EUR","status":"captured"},"duration_ms":8.276}');
INSERT INTO public.saga_log (saga_id, seq, epoch, at, event, step, attempt, data) VALUES ('01a221e7-8f67-7996-beac-fd20fec1ec8b', 3, 1, '2026-11-28 11:25:53.403019+00', 'step_succeeded', 'inventory', 1, '{"result":{"reservation_id":"res_f860da20f06a2f9f0f5b74d5","status":"reserved"},"duration_ms":5.33}');
INSERT INTO public.saga_log (saga_id, seq, epoch, at, event, step, attempt, data) VALUES ('01a221e7-8f67-7996-beac-fd20fec1ec8b', 4, 1, '2026-11-28 11:25:53.411985+00', 'step_failed', 'shipping', 1, '{"error":{"code":"address_unserviceable","message":"Nothing is delivered to that address.","kind":"refused"},"duration_ms":0.699}');
INSERT INTO public.saga_log (saga_id, seq, epoch, at, event, step, attempt, data) VALUES ('01a221e7-8f67-7996-beac-fd20fec1ec8b', 5, 1, '2026-11-28 11:25:53.424055+00', 'compensation_retried', 'inventory', 1, '{"error":{"code":"unavailable","message":"The service is down.","kind":"unavailable"},"next_action_at":"2026-11-28T11:26:09.406190Z","duration_ms":0.53}');
INSERT INTO public.saga_log (saga_id, seq, epoch, at, event, step, attempt, data) VALUES ('01a221e7-8fff-7a0f-9f87-bb4d091705ed', 1, 1, '2026-11-28 11:25:53.535208+00', 'saga_started', NULL, NULL, '{}');
INSERT INTO public.saga_log (saga_id, seq, epoch, at, event, step, attempt, data) VALUES ('01a221e7-8fff-7a0f-9f87-bb4d091705ed', 2, 1, '2026-11-28 11:25:53.541973+00', 'step_retried', 'payment', 1, '{"error":{"code":"timeout","message":"The service did not answer in time.","kind":"timeout"},"outcome":"unknown","next_action_at":"2026-11-28T11:25:57.634418Z","duration_ms":2.869}');
INSERT INTO public.schema_floor (revision) VALUES ('0009');
INSERT INTO public.session (digest, key_id, created_at, expires_at) VALUES ('5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e', '01a221e7-69eb-7390-8563-54e903de391a', '2026-11-28 11:25:46.557001+00', '2026-11-28 23:25:46.557001+00');
INSERT INTO public.webhook_delivery (id, endpoint, status, saga_id, seq, type, at, attempts, next_attempt_at, delivered_at, last_status, last_error, claimed_by, claimed_until) VALUES (1, 'shop', 'pending', '01a221e7-8cd0-74f9-90ce-f60ad1c62bd1', 5, 'checkout.completed', '2026-11-28 11:25:52.815812+00', 1, '2026-11-28 11:25:58.76104+00', NULL, NULL, 'Not reached, or no whole answer (ClientConnectorError).', NULL, NULL);
INSERT INTO public.webhook_delivery (id, endpoint, status, saga_id, seq, type, at, attempts, next_attempt_at, delivered_at, last_status, last_error, claimed_by, claimed_until) VALUES (2, 'shop', 'pending', '01a221e7-8db1-7e35-9d31-dca7bbd3cc80', 5, 'checkout.compensated', '2026-11-28 11:25:52.961358+00', 1, '2026-11-28 11:25:58.684225+00', NULL, NULL, 'Not reached, or no whole answer (ClientConnectorError).', NULL, NULL);
INSERT INTO public.webhook_delivery (id, endpoint, status, saga_id, seq, type, at, attempts, next_attempt_at, delivered_at, last_status, last_error, claimed_by, claimed_until) VALUES (3, 'shop', 'pending', '01a221e7-8e0d-7752-8351-49952844cef8', 7, 'checkout.needs_attention', '2026-11-28 11:25:53.062095+00', 1, '2026-11-28 11:25:58.649668+00', NULL, NULL, 'Not reached, or no whole answer (ClientConnectorError).', NULL, NULL);
INSERT INTO public.webhook_endpoint (name, state, reason, changed_at, xid, "position") VALUES ('shop', 'enabled', NULL, '2026-11-28 11:25:32.853341+00', 10, 3);
SELECT pg_catalog.setval('public.outbox_position_seq', 3, true);
SELECT pg_catalog.setval('public.webhook_delivery_id_seq', 3, true);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.api_key
    ADD CONSTRAINT pk_api_key PRIMARY KEY (id);
ALTER TABLE ONLY public.log_clock
    ADD CONSTRAINT pk_log_clock PRIMARY KEY (task);
ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT pk_outbox PRIMARY KEY ("position");
ALTER TABLE ONLY public.replica
    ADD CONSTRAINT pk_replica PRIMARY KEY (id);
ALTER TABLE ONLY public.retention
    ADD CONSTRAINT pk_retention PRIMARY KEY (task);
ALTER TABLE ONLY public.retention_later
    ADD CONSTRAINT pk_retention_later PRIMARY KEY (saga_id);
ALTER TABLE ONLY public.saga
    ADD CONSTRAINT pk_saga PRIMARY KEY (id);
ALTER TABLE ONLY public.saga_log
    ADD CONSTRAINT pk_saga_log PRIMARY KEY (saga_id, seq);
ALTER TABLE ONLY public.schema_floor
    ADD CONSTRAINT pk_schema_floor PRIMARY KEY (revision);
ALTER TABLE ONLY public.session
    ADD CONSTRAINT pk_session PRIMARY KEY (digest);
ALTER TABLE ONLY public.webhook_delivery
    ADD CONSTRAINT pk_webhook_delivery PRIMARY KEY (id);
ALTER TABLE ONLY public.webhook_endpoint
    ADD CONSTRAINT pk_webhook_endpoint PRIMARY KEY (name);
CREATE INDEX ix_outbox_caller ON public.outbox USING btree (caller, xid, "position");
CREATE INDEX ix_outbox_feed ON public.outbox USING btree (xid, "position");
CREATE INDEX ix_saga_cancel ON public.saga USING btree (id) WHERE ((cancel IS NOT NULL) AND ((status)::text = 'running'::text));
CREATE INDEX ix_saga_customer ON public.saga USING btree (caller, customer_id, id);
CREATE INDEX ix_saga_due ON public.saga USING btree (next_action_at) WHERE ((status)::text = ANY ((ARRAY['running'::character varying, 'compensating'::character varying])::text[]));
CREATE INDEX ix_saga_log_given_up ON public.saga_log USING btree (step, saga_id) WHERE ((event)::text = ANY ((ARRAY['step_failed'::character varying, 'step_unknown'::character varying, 'compensation_failed'::character varying])::text[]));
CREATE INDEX ix_saga_needs_attention ON public.saga USING btree (id) WHERE ((status)::text = 'needs_attention'::text);
CREATE INDEX ix_saga_order_compensated ON public.saga USING btree (caller, order_id) WHERE ((status)::text = 'compensated'::text);
CREATE INDEX ix_webhook_delivery_due ON public.webhook_delivery USING btree (endpoint, next_attempt_at) WHERE ((status)::text = 'pending'::text);
CREATE INDEX ix_webhook_delivery_status ON public.webhook_delivery USING btree (status, id);
CREATE UNIQUE INDEX uq_api_key_prefix ON public.api_key USING btree (prefix);
CREATE UNIQUE INDEX uq_outbox_event ON public.outbox USING btree (saga_id, seq);
CREATE UNIQUE INDEX uq_saga_idempotency_key ON public.saga USING btree (caller, idempotency_key) WHERE (idempotency_key IS NOT NULL);
CREATE UNIQUE INDEX uq_saga_order ON public.saga USING btree (caller, order_id) WHERE ((status)::text <> 'compensated'::text);
CREATE UNIQUE INDEX uq_webhook_delivery_event ON public.webhook_delivery USING btree (endpoint, saga_id, seq);
