-- One order a request for wrk, none twice: BENCH_RUN is another for each run of wrk, which seeds every `math.random`
-- alike. BENCH_COUNTRY XX is where nothing is delivered; BENCH_PATH is where orders are placed.
local threads = 0
function setup(thread) thread:set("id", threads); threads = threads + 1 end
function init() n = 0; run = os.getenv("BENCH_RUN") or os.time() end
function request()
  n = n + 1
  local order = run .. "-" .. id .. "-" .. n
  wrk.headers["Content-Type"] = "application/json"
  wrk.headers["Idempotency-Key"] = order
  wrk.method = "POST"
  wrk.path = os.getenv("BENCH_PATH") or "/checkout"
  wrk.body = '{"order_id":"' .. order .. '","customer_id":"cus-7","currency":"EUR","items":[{"sku":"TSHIRT-M","quantity":2,'
    .. '"unit_price":1999}],"payment_method":"tok_visa","shipping_address":{"name":"Ada L.","line1":"1 Main St","city":"Paris",'
    .. '"postal_code":"75001","country":"' .. (os.getenv("BENCH_COUNTRY") or "FR") .. '"}}'
  return wrk.format()
end
