-- Claims due jobs under a lease.
--
-- A claimed job keeps its place in the queue with its score raised to the end of its lease plus a half, so that
-- arq's Job.result() still finds it and running jobs never stand in front of waiting ones. A due score that ends
-- in a half is therefore a lease that ran out: the worker was lost. Negative scores mark jobs that moved on to
-- their own queue (see finish.lua).
--
-- KEYS: queue.  ARGV: token, lease (ms), limit (at most 100: Lua does not roll back), now (ms; '' = the server's).
-- Returns now, the next due time (ms, or false), and for each job: id, due score, payload, tries, lost, memory.
local now = tonumber(ARGV[4])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local lease = tonumber(ARGV[2])
local due = redis.call('ZRANGEBYSCORE', KEYS[1], 0, now, 'WITHSCORES', 'LIMIT', 0, ARGV[3])
if #due == 0 then
  local later = redis.call('ZRANGEBYSCORE', KEYS[1], string.format('(%d', now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  return {now, later[2] or false}
end
local lease_end = string.format('%d.5', now + lease)
local kept, raised = {}, {}
for i = 1, #due, 2 do
  local id = due[i]
  kept[#kept + 1] = 'arq:job:' .. id
  kept[#kept + 1] = 'arq:retry:' .. id
  kept[#kept + 1] = 'indostar:lost:' .. id
  kept[#kept + 1] = 'indostar:memory:' .. id
  raised[#raised + 1] = lease_end
  raised[#raised + 1] = id
  -- The token outlives the lease, so that a finish which comes late but before any other claim is still ours.
  redis.call('SET', 'arq:in-progress:' .. id, ARGV[1], 'PX', lease + 60000)
  if string.find(due[i + 1], '.5', 1, true) then
    redis.call('INCR', 'indostar:lost:' .. id)
  end
end
redis.call('ZADD', KEYS[1], unpack(raised))
local values = redis.call('MGET', unpack(kept))
local reply = {now, false}
for i = 1, #due, 2 do
  local at = 2 * (i - 1)
  reply[#reply + 1] = due[i]
  reply[#reply + 1] = due[i + 1]
  for field = 1, 4 do
    reply[#reply + 1] = values[at + field]
  end
  -- Stock arq lets a payload expire a day after its job was due; ours lives as long as its job.
  if values[at + 1] then
    redis.call('PERSIST', 'arq:job:' .. due[i])
  end
end
return reply
