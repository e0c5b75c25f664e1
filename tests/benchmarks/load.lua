-- Posts the bodies given as arguments in turn, as fast as answers come, and ends with one line of
-- figures. The token comes by the environment because arguments show in the list of processes.

local prepared = {}
local turn = 0
local threads = {}

-- Answers by body, with how often each came; global, because only that can be read at the end.
answers = {}
others = 0
local kinds = 0
local most_kinds = 64

function setup(thread)
  threads[#threads + 1] = thread
end

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

-- wrk keeps answers for it only where it is defined.
if os.getenv("BENCHMARK_WATCH") == "1" then
  function response(status, headers, body)
    if status ~= 200 then
      body = status .. " " .. body
    end
    local count = answers[body]
    if count then
      answers[body] = count + 1
    elseif kinds < most_kinds then
      kinds = kinds + 1
      answers[body] = 1
    else
      others = others + 1
    end
  end
end

local function hexadecimal(text)
  return (text:gsub(".", function(one) return string.format("%02x", one:byte()) end))
end

-- Only one thread is asked for; what several counted is added up all the same.
local function counted()
  local pairs_of_all, rest = {}, 0
  for _, thread in ipairs(threads) do
    for body, count in pairs(thread:get("answers")) do
      pairs_of_all[#pairs_of_all + 1] = string.format('["%s",%d]', hexadecimal(body), count)
    end
    rest = rest + thread:get("others")
  end
  return "[" .. table.concat(pairs_of_all, ",") .. "]", rest
end

function done(summary, latency, requests)
  local errors = summary.errors
  local bodies, rest = counted()
  io.write(string.format(
    'FIGURES {"requests":%d,"bytes":%d,"microseconds":%d,"p50":%.1f,"p99":%.1f,"max":%.1f,' ..
    '"errors":{"connect":%d,"read":%d,"write":%d,"timeout":%d,"status":%d},' ..
    '"answers":%s,"others":%d}\n',
    summary.requests, summary.bytes, summary.duration,
    latency:percentile(50), latency:percentile(99), latency.max,
    errors.connect, errors.read, errors.write, errors.timeout, errors.status,
    bodies, rest))
end
