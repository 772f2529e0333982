-- wrk's script for a load plan (bench/load/plan.py), which it reads from the environment.
local wallets, batch = {}, tonumber(os.getenv("LOAD_BATCH"))
for id in os.getenv("LOAD_WALLETS"):gmatch("[^,]+") do wallets[#wallets + 1] = id end
local prefix, sent = os.getenv("LOAD_PREFIX"), 0

wrk.method = "POST"
wrk.headers["Authorization"] = "Bearer " .. os.getenv("LOAD_API_KEY")
wrk.headers["Content-Type"] = "application/json"

local function key()
  sent = sent + 1
  return prefix .. "-" .. sent
end

local function pair()
  local source = math.random(#wallets)
  local destination = math.random(#wallets - 1)
  if destination >= source then destination = destination + 1 end
  return string.format('"source":"%s","destination":"%s","asset":"USD","amount":"0.01"}',
    wallets[source], wallets[destination])
end

function request()
  if batch == 1 then
    wrk.headers["Idempotency-Key"] = key()
    return wrk.format(nil, "/v1/transfers", nil, "{" .. pair())
  end
  local items = {}
  for number = 1, batch do
    items[number] = '{"idempotency_key":"' .. key() .. '",' .. pair()
  end
  return wrk.format(nil, "/v1/transfers/batch", nil,
    '{"transfers":[' .. table.concat(items, ",") .. "]}")
end

function done(summary, latency)
  io.write(string.format(
    '{"seconds":%f,"requests":%d,"failed":%d,"p50_ms":%f,"p99_ms":%f}\n',
    summary.duration / 1e6, summary.requests,
    summary.errors.status + summary.errors.connect + summary.errors.read
      + summary.errors.write + summary.errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
