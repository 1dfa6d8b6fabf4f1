-- A crowd that asks at a rate: each connection pauses between its answers. Every request has a body
-- of $BODY_BYTES (JSON, blanks behind it) and names $TIMEOUT_MS. Ends with one line of JSON: answers
-- by status, what 429s told, and the latencies of those that were refused, the quickest of all.
local threads = {}
local packet
counts, told, untold = {}, {}, 0
local pause_ms

function setup(thread)
  table.insert(threads, thread)
end

function init()
  local bytes = tonumber(os.getenv("BODY_BYTES"))
  local body = os.getenv("BODY")
  local headers = {
    ["Content-Type"] = "application/json",
    ["X-Request-Timeout-Ms"] = os.getenv("TIMEOUT_MS"),
  }
  packet = wrk.format("POST", nil, headers, body .. string.rep(" ", bytes - #body))
  pause_ms = tonumber(os.getenv("PAUSE_MS"))
  math.randomseed(1)
end

function request()
  return packet
end

if tonumber(os.getenv("PAUSE_MS")) > 0 then
  -- The first time it is asked for each connection, before its first request: they shall not begin
  -- all together.
  local unasked = tonumber(os.getenv("CONNECTIONS"))
  function delay()
    if unasked > 0 then
      unasked = unasked - 1
      return pause_ms * math.random()
    end
    return pause_ms * (0.5 + math.random())
  end
end

function response(status, headers)
  counts[status] = (counts[status] or 0) + 1
  if status == 429 then
    local after = headers["retry-after"]
    if after then
      told[after] = (told[after] or 0) + 1
    else
      untold = untold + 1
    end
  end
end

function done(summary, latency)
  local statuses, distinct, answered, untold_all = {}, {}, 0, 0
  local refused = 0
  for _, thread in ipairs(threads) do
    for status, count in pairs(thread:get("counts")) do
      statuses[#statuses + 1] = string.format('"%d":%d', status, count)
      answered = answered + count
      if status == 429 then refused = refused + count end
    end
    for after, _ in pairs(thread:get("told")) do distinct[#distinct + 1] = after end
    untold_all = untold_all + thread:get("untold")
  end
  -- Whoever is refused is answered before any that is run: their latencies are the lowest.
  local share = 100 * refused / math.max(answered, 1)
  local function shed(percent)
    return refused > 0 and latency:percentile(math.max(0.001, share * percent / 100)) or 0
  end
  local errors = summary.errors
  io.write(string.format(
    'FLOOD {"seconds":%.6f,"shed_p50_us":%d,"shed_p99_us":%d,"p50_us":%d,"p99_us":%d,',
    summary.duration / 1e6, shed(50), shed(99), latency:percentile(50), latency:percentile(99)))
  io.write(string.format(
    '"errors":%d,"untold":%d,"moments":%d,"statuses":{%s}}\n',
    errors.connect + errors.read + errors.write + errors.timeout, untold_all, #distinct,
    table.concat(statuses, ",")))
end
