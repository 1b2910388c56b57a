-- Sends each token of a file in turn. Arguments: the file, one token a line; "once" or "again".
-- Ends with one line of JSON; seconds everywhere.

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  requests, count, sent, wrong = {}, 0, 0, 0
  again = arguments[2] == "again"
  for token in io.lines(arguments[1]) do
    count = count + 1
    requests[count] = wrk.format("GET", nil, { ["Authorization"] = "Bearer " .. token })
  end
end

function request()
  sent = sent + 1
  if sent > count and not again then
    -- counted by `sent`, so that whoever asked for new tokens learns that there were too few
    return requests[1]
  end
  return requests[(sent - 1) % count + 1]
end

function response(status)
  if status ~= 200 then
    wrong = wrong + 1
  end
end

function done(summary, latency)
  local thread = threads[1]
  local errors = summary.errors
  local lost = errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format(
    '\n{"requests": %d, "seconds": %.6f, "median": %.6f, "p99": %.6f, "sent": %d, "wrong": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e6, latency:percentile(99) / 1e6,
    thread:get("sent"), thread:get("wrong") + lost
  ))
end
