-- Lets payloads live as long as their jobs. Stock arq lets one expire a day after its job was due, claimed or not:
-- so much for a queue that was paused over a holiday. What was enqueued with `_expires` is left to expire.
--
-- KEYS: queue.  ARGV: how many of the queue's first jobs to look at ('': those that matter), for how long jobs are
-- overdue that matter (ms), at most how many at once, now (ms; '' = the server's).
-- Returns how many of the first are left to look at (false: none), and how many payloads would have expired.
local DAY, SKEW = 86400000, 600000
local now = clock(ARGV[4])
-- By their places, for a million may be due at the same time; and from the last to the first, since what leaves the
-- queue meanwhile moves the others to places that are still to come.
local places = tonumber(ARGV[1])
  or redis.call('ZCOUNT', KEYS[1], '-inf', string.format('%d', now - tonumber(ARGV[2])))
if places == 0 then
  return {false, 0}
end
local first = math.max(0, places - tonumber(ARGV[3]))
local page = redis.call('ZRANGE', KEYS[1], first, places - 1, 'WITHSCORES')
local kept = 0
for i = 1, #page, 2 do
  local payload = 'arq:job:' .. page[i]
  local left = redis.call('PTTL', payload)
  -- Enqueuers may have clocks of their own.
  if left > 0 and math.abs(now + left - tonumber(page[i + 1]) - DAY) < SKEW then
    kept = kept + redis.call('PERSIST', payload)
  end
end
-- What was due more than a day ago has expired, or is kept.
local is_over = first == 0 or #page == 0 or tonumber(page[2]) < now - DAY - SKEW
return {not is_over and first, kept}
