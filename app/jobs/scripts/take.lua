-- Claims one job by its id, due or not, unless it is running.
--
-- KEYS: claims, lost, epoch, aborts, then every queue.  ARGV: id, token, lease (ms), now (ms; '' = the server's).
-- Returns the epoch, and where it was claimed: queue key, and the job as claim.lua gives it.
local id, lease, now = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
redis.call('SET', KEYS[3], ARGV[2], 'NX')
local epoch = redis.call('GET', KEYS[3])
for i = 5, #KEYS do
  local score = redis.call('ZSCORE', KEYS[i], id)
  -- Negative: only the mark of a job that has moved on.
  if score and tonumber(score) >= 0 then
    local is_lease = string.find(score, '.5', 1, true)
    if is_lease and tonumber(score) > now then
      return {epoch}
    end
    local token = epoch .. ' ' .. ARGV[2]
    redis.call('ZADD', KEYS[i], string.format('%d.5', now + lease), id)
    redis.call('HSET', KEYS[1], id, token)
    redis.call('SET', 'arq:in-progress:' .. id, token, 'PX', lease)
    if is_lease then
      redis.call('HINCRBY', KEYS[2], id, 1)
    end
    local kept = redis.call('MGET', 'arq:job:' .. id, 'arq:retry:' .. id, 'indostar:memory:' .. id)
    local lost = redis.call('HGET', KEYS[2], id)
    return {epoch, KEYS[i], id, score, kept[1], kept[2], kept[3], lost, redis.call('ZSCORE', KEYS[4], id)}
  end
end
return {epoch}
