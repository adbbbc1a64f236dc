-- Extends the leases of running jobs.
--
-- A job that Redis forgot (FLUSHALL) and that somebody enqueued anew while its holder goes on is the holder's again, so
-- that nobody else starts it beside.
--
-- KEYS: claims, epoch, events.  ARGV: lease (ms), now (ms; '' = the server's), most events kept, then id, token, queue key
-- for each job.
-- Returns for each 1 where the lease was extended, 0 where the job is another's by now or has ended, 2 where Redis
-- lost everything meanwhile, and this job with it.
local now = clock(ARGV[2])
local lease = tonumber(ARGV[1])
local lease_end = string.format('%d.5', now + lease)
local ids = {}
for i = 4, #ARGV, 3 do
  ids[#ids + 1] = ARGV[i]
end
local holders = redis.call('HMGET', KEYS[1], unpack(ids))
local epoch = redis.call('GET', KEYS[2])
local reply = {}
-- As in claim.lua: a server that is out of memory must not take jobs from their holders.
redis.call('HDEL', KEYS[1], '')
for n, id in ipairs(ids) do
  local token, queue = ARGV[3 * n + 2], ARGV[3 * n + 3]
  -- A token begins with the epoch of its claim.
  local forgotten = not holders[n] and epoch ~= string.match(token, '^%S+')
  local due = forgotten and redis.call('ZSCORE', queue, id)
  local payload = due and tonumber(due) >= 0 and redis.call('GET', 'arq:job:' .. id)
  if payload then
    redis.call('HSET', KEYS[1], id, token)
    holders[n] = token
    -- As if it had been claimed, which for a job of a stock pool is when its payload is kept and told.
    local told = due
    if string.sub(payload, 1, 7) ~= '{"v":1,' then
      redis.call('PERSIST', 'arq:job:' .. id)
      told = due .. ' ' .. payload
    end
    local at, by = string.format('%d', now), string.match(token, '%S+$')
    local name = string.match(queue, '^arq:queue:(.+)') or 'default'
    redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[3], '*',
      'kind', 'started', 'at', at, 'by', by, 'queue', name, 'job:' .. id, told)
  end
  if holders[n] == token then
    redis.call('SET', 'arq:in-progress:' .. id, token, 'PX', lease)
    redis.call('ZADD', queue, 'XX', lease_end, id)
    reply[n] = 1
  else
    reply[n] = forgotten and 2 or 0
  end
end
return reply
