// A shop's calls through the types that openapi-typescript makes; `make clients` type-checks and runs them.
import createClient from "openapi-fetch";
import type { components, paths } from "./checkout.js";
import { order } from "./readme.js";

type Order = components["schemas"]["Order"];
type Saga = components["schemas"]["Saga"];

declare const process: { argv: string[] };

const client = createClient<paths>({ baseUrl: process.argv[2]! });
let checked = 0;

function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(what);
  checked += 1;
}

// The first key, which closes the service to all that have none.
const made = await client.POST("/keys", {
  body: { caller: "shop", who: "ada", scopes: ["checkout", "read", "operate", "keys"], everyone: true },
});
check(made.data !== undefined, "no key was made");
const key: string = made.data.key;
client.use({
  onRequest({ request }) {
    request.headers.set("Authorization", `Bearer ${key}`);
    return request;
  },
});

// A dry run, the checkout, and its repeat.
const plan = await client.POST("/checkout", { params: { query: { dry_run: true } }, body: order });
check(plan.response.status === 200, "the dry run is not 200");
const placed = await client.POST("/checkout", { params: { header: { "Idempotency-Key": "k" } }, body: order });
check(placed.response.status === 201, "the checkout is not 201");
const saga = placed.data as Saga;
check(saga.status === "completed", "the checkout is not completed");
const again = await client.POST("/checkout", { params: { header: { "Idempotency-Key": "k" } }, body: order });
check(again.response.headers.get("idempotent-replayed") === "true", "the repeat is not a replay");

// An address without what it may leave out, and with null, is the same type.
const unserved: Order = {
  ...order,
  order_id: "ord-2",
  shipping_address: { name: "Ada L.", line1: "1 Main St", line2: null, city: "Paris", country: "XX" },
};
const refused = await client.POST("/checkout", { body: unserved });
check(refused.error?.type === "/problems/shipping_refused", "the refusal has another type");
check(refused.error.saga?.status === "compensated", "the refused checkout is not compensated");

// Reading.
const read = await client.GET("/sagas/{saga_id}", { params: { path: { saga_id: saga.id } } });
check(read.data?.order_id === order.order_id, "another saga was read");
const page = await client.GET("/sagas", {
  params: { query: { status: "completed", created_after: saga.created_at, limit: 5 } },
});
check(page.data?.data.length === 1, "the list has not one completed saga");
const late = await client.POST("/sagas/{saga_id}/cancel", {
  params: { path: { saga_id: saga.id } },
  body: { reason: "The customer called." },
});
check(late.error?.code === "saga_finished", "a finished saga was cancelled");

console.log(`${checked} checks of a TypeScript client hold`);
