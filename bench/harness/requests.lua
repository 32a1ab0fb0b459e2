-- Requests as a browser sends them to a proxy: absolute URLs, many hosts (wrk script).
local hosts = tonumber(os.getenv("HOSTS"))
local pause = tonumber(os.getenv("PAUSE"))
local fresh = os.getenv("FRESH")
local folder = os.getenv("FOLDER")
local picks = {}
local count = 0
local agent = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"

function init(_)
  math.randomseed(tonumber(os.getenv("SEED")))
  if fresh ~= "" then return end
  -- Zipf with exponent 1: host k is asked for in proportion to 1/k.
  local sum, sums = 0, {}
  for k = 1, hosts do
    sum = sum + 1 / k
    sums[k] = sum
  end
  for n = 1, 65536 do
    local wanted = math.random() * sum
    local low, high = 1, hosts
    while low < high do
      local middle = math.floor((low + high) / 2)
      if sums[middle] < wanted then low = middle + 1 else high = middle end
    end
    picks[n] = low
  end
end

function request()
  count = count + 1
  local host
  if fresh ~= "" then
    host = "new" .. string.format("%d", fresh + count) .. ".example"
  else
    host = "host" .. picks[(count - 1) % 65536 + 1] .. ".example"
  end
  return "GET http://" .. host .. "/" .. folder .. "/path?x=" .. count .. " HTTP/1.1\r\nHost: " .. host ..
    "\r\nUser-Agent: " .. agent .. "\r\n\r\n"
end

if pause > 0 then
  function delay()
    -- Spread around the pause, so that connections do not march in step.
    return pause / 2 + math.random() * pause
  end
end

function done(summary, latency, _)
  local e = summary.errors
  io.write(string.format(
    '{"requests_per_second": %.1f, "requests": %d, "p50": %.3f, "p99": %.3f, "p99.9": %.3f, '
      .. '"max": %.3f, "failed": %d}\n',
    summary.requests / summary.duration * 1e6, summary.requests,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    latency:percentile(99.9) / 1000, latency.max / 1000,
    e.connect + e.read + e.write + e.status + e.timeout))
end
