// grpc.health.v1: the two messages of Health/Check in their frames, by hand and strict. Pure.
// Source: grpc/grpc doc/health-checking.md and doc/PROTOCOL-HTTP2.md; protobuf encoding guide.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace plimsoll::control {

enum class Serving : std::uint8_t { unknown = 0, serving = 1, not_serving = 2, service_unknown = 3 };
[[nodiscard]] std::string_view name(Serving serving);

inline constexpr std::string_view grpc_health_path = "/grpc.health.v1.Health/Check";
/// A frame's head (5 bytes) and a message with one small field: far below this, whatever else a server adds.
inline constexpr std::size_t max_grpc_answer_bytes = 4096;

/// The whole body of the request: one frame with a HealthCheckRequest.
[[nodiscard]] std::string encode_health_request(std::string_view service);
/// The whole body of an answer: exactly one uncompressed frame with a HealthCheckResponse. Fields that we do not know
/// are skipped, as protobuf asks for. Errors: protocol (side upstream).
[[nodiscard]] Result<Serving> decode_health_answer(std::string_view body);

}  // namespace plimsoll::control
