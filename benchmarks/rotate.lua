-- Sends the bodies of the file $BODIES (a JSON document a line) in turn; ends with one line of JSON.
-- With $BODY_BYTES, sizes with commas between them, it holds bodies of anything, one behind the
-- other, which are sent with the header $HEADER_NAME: $HEADER_VALUE.
-- With $STATUSES it also counts answers by status, which costs the generator a call per answer.
local threads = {}
local bodies, next_body = {}, 0
counts = {}

function setup(thread)
  table.insert(threads, thread)
end

function init()
  local sizes = os.getenv("BODY_BYTES")
  if sizes then
    local headers = { [os.getenv("HEADER_NAME")] = os.getenv("HEADER_VALUE") }
    local file = io.open(os.getenv("BODIES"), "rb")
    for size in sizes:gmatch("%d+") do
      bodies[#bodies + 1] = wrk.format("POST", nil, headers, file:read(tonumber(size)))
    end
    return
  end
  local headers = { ["Content-Type"] = "application/json" }
  for body in io.lines(os.getenv("BODIES")) do
    bodies[#bodies + 1] = wrk.format("POST", nil, headers, body)
  end
end

function request()
  next_body = next_body % #bodies + 1
  return bodies[next_body]
end

if os.getenv("STATUSES") then
  function response(status)
    counts[status] = (counts[status] or 0) + 1
  end
end

function done(summary, latency)
  local statuses = {}
  for _, thread in ipairs(threads) do
    for status, count in pairs(thread:get("counts")) do
      statuses[#statuses + 1] = string.format('"%d":%d', status, count)
    end
  end
  local errors = summary.errors
  io.write(string.format(
    'WRK {"answered":%d,"duration_us":%d,"p50_us":%d,"p90_us":%d,"p99_us":%d,"max_us":%d,',
    summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(90), latency:percentile(99), latency.max))
  io.write(string.format(
    '"failed":%d,"socket_errors":%d,"timeouts":%d,"statuses":{%s}}\n',
    errors.status, errors.connect + errors.read + errors.write, errors.timeout,
    table.concat(statuses, ",")))
end
