-- Posts the bodies given as arguments in turn, as fast as answers come, and ends with one line of
-- figures. The token comes by the environment because arguments show in the list of processes.

local prepared = {}
local turn = 0

function init(arguments)
  local headers = { ["Content-Type"] = "application/json" }
  local token = os.getenv("BENCHMARK_TOKEN")
  if token and token ~= "" then
    headers["Authorization"] = "Bearer " .. token
  end
  for _, body in ipairs(arguments) do
    prepared[#prepared + 1] = wrk.format("POST", nil, headers, body)
  end
end

function request()
  turn = turn % #prepared + 1
  return prepared[turn]
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    'FIGURES {"requests":%d,"bytes":%d,"microseconds":%d,"p50":%.1f,"p99":%.1f,"max":%.1f,' ..
    '"errors":{"connect":%d,"read":%d,"write":%d,"timeout":%d,"status":%d}}\n',
    summary.requests, summary.bytes, summary.duration,
    latency:percentile(50), latency:percentile(99), latency.max,
    errors.connect, errors.read, errors.write, errors.timeout, errors.status))
end
