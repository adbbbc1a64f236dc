-- Removes a key if it still has no expiry, or has not been used for so long; 1 if it did.
-- KEYS[1] the key; ARGV[1] seconds, or nothing where only the expiry counts

local function is_idle()
  return ARGV[1] and (redis.call('OBJECT', 'IDLETIME', KEYS[1]) or -1) >= tonumber(ARGV[1])
end

if redis.call('TTL', KEYS[1]) == -1 or is_idle() then
  return redis.call('UNLINK', KEYS[1])
end
return 0
