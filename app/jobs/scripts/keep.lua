-- Lets payloads live as long as their jobs. Stock arq lets one expire a day after its job was due, claimed or not:
-- so much for a queue that was paused over a holiday. What was enqueued with `_expires` is left to expire.
--
-- KEYS: queue.  ARGV: after which due time to look ('' at first), for how long jobs are overdue that matter (ms), at
-- most how many at once, now (ms; '' = the server's).
-- Returns the last due time looked at (false: none is left), and how many payloads would have expired.
local DAY, SKEW = 86400000, 600000
local now = clock(ARGV[4])
local most = tonumber(ARGV[3])
local after = ARGV[1] ~= '' and '(' .. ARGV[1] or string.format('%d', now - DAY - SKEW)
local up_to = string.format('%d', now - tonumber(ARGV[2]))
local page = redis.call('ZRANGEBYSCORE', KEYS[1], after, up_to, 'WITHSCORES', 'LIMIT', 0, most)
local last = page[#page] or false
local due_then = {}
if #page == 2 * most then
  -- The page may end among jobs of the same due time.
  due_then = redis.call('ZRANGEBYSCORE', KEYS[1], last, last)
end
local kept = 0
local function keep(id, due)
  local left = redis.call('PTTL', 'arq:job:' .. id)
  -- Enqueuers may have clocks of their own.
  if left > 0 and math.abs(now + left - due - DAY) < SKEW then
    kept = kept + redis.call('PERSIST', 'arq:job:' .. id)
  end
end
for i = 1, #page, 2 do
  keep(page[i], tonumber(page[i + 1]))
end
for _, id in ipairs(due_then) do
  keep(id, tonumber(last))
end
return {last, kept}
