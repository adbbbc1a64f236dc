-- Extends the leases of running jobs.
-- KEYS: none.  ARGV: lease (ms), now (ms; '' = the server's), then id, token, queue key for each job.
-- Returns 1 for each lease that was extended, 0 for each that is another's by now.
local now = tonumber(ARGV[2])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local lease = tonumber(ARGV[1])
local lease_end = string.format('%d.5', now + lease)
local reply = {}
for i = 3, #ARGV, 3 do
  local id, token, queue = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if redis.call('GET', 'arq:in-progress:' .. id) == token then
    redis.call('SET', 'arq:in-progress:' .. id, token, 'PX', lease + 60000)
    redis.call('ZADD', queue, 'XX', lease_end, id)
    reply[#reply + 1] = 1
  else
    reply[#reply + 1] = 0
  end
end
return reply
