#include "lab/request_reader.h"

#include <algorithm>

#include "async/deadline.h"
#include "http/body.h"
#include "http/writer.h"

namespace plimsoll::lab {

using async::Deadline;
using async::Task;

Task<bool> RequestReader::more(std::string& into) {
    const Result<std::size_t> n = co_await stream_.read(buffer_, Deadline::none());
    if (!n || *n == 0) co_return false;
    into.append(buffer_.data(), *n);
    co_return true;
}

Task<bool> RequestReader::next() {
    parser_.reset();
    body_.clear();
    head_ = std::move(rest_);
    rest_.clear();
    for (;;) {
        const http::Progress progress = parser_.feed(head_);
        if (progress == http::Progress::complete) break;
        if (progress == http::Progress::refused) {
            std::string answer;
            http::append_answer(answer, parser_.refusal().status, parser_.refusal().reason, false);
            (void)co_await stream_.write_all(answer, Deadline::none());
            co_return false;
        }
        if (!co_await more(head_)) co_return false;
    }
    rest_ = head_.substr(parser_.head().bytes);
    http::BodyDecoder decoder(parser_.head().framing);
    if (parser_.head().expects_continue) (void)co_await stream_.write_all(http::continue_head, Deadline::none());
    for (;;) {
        const http::BodyStep step = decoder.next(rest_);
        body_.append(step.data.substr(0, kept_body - std::min(kept_body, body_.size())));
        rest_.erase(0, step.consumed);
        if (step.kind == http::BodyStep::Kind::end) co_return true;
        if (step.kind == http::BodyStep::Kind::refused) co_return false;
        if (step.kind == http::BodyStep::Kind::more && !co_await more(rest_)) co_return false;
    }
}

}  // namespace plimsoll::lab
