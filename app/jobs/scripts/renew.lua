-- Extends the leases of running jobs.
--
-- KEYS: claims, epoch.  ARGV: lease (ms), now (ms; '' = the server's), then id, token, queue key for each job.
-- Returns for each 1 where the lease was extended, 0 where the job is another's by now or has ended, 2 where Redis
-- lost everything meanwhile, and this job with it.
local now = clock(ARGV[2])
local lease = tonumber(ARGV[1])
local lease_end = string.format('%d.5', now + lease)
local ids = {}
for i = 3, #ARGV, 3 do
  ids[#ids + 1] = ARGV[i]
end
local holders = redis.call('HMGET', KEYS[1], unpack(ids))
local epoch = redis.call('GET', KEYS[2])
local reply = {}
-- As in claim.lua: a server that is out of memory must not take jobs from their holders.
redis.call('HDEL', KEYS[1], '')
for n, id in ipairs(ids) do
  local token, queue = ARGV[3 * n + 1], ARGV[3 * n + 2]
  if holders[n] == token then
    redis.call('SET', 'arq:in-progress:' .. id, token, 'PX', lease)
    redis.call('ZADD', queue, 'XX', lease_end, id)
    reply[n] = 1
  else
    -- A token begins with the epoch of its claim.
    local forgotten = not holders[n] and epoch ~= string.match(token, '^%S+')
    reply[n] = forgotten and 2 or 0
  end
end
return reply
