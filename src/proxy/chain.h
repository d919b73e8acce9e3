// Chain: members link themselves in and out; no allocation. Thread rule: one worker.
#pragma once

namespace plimsoll::proxy {

template <class T>
class Chain;

/// Base of what can be in one Chain<T>; leaves it when destroyed.
template <class T>
class Linked {
public:
    Linked() = default;
    Linked(const Linked&) = delete;
    Linked& operator=(const Linked&) = delete;
    ~Linked() {
        if (previous_ == nullptr) return;
        previous_->next_ = next_;
        next_->previous_ = previous_;
    }

private:
    friend class Chain<T>;
    Linked* previous_ = nullptr;
    Linked* next_ = nullptr;
};

template <class T>
class Chain {
public:
    Chain() { head_.previous_ = head_.next_ = &head_; }
    Chain(const Chain&) = delete;
    Chain& operator=(const Chain&) = delete;
    ~Chain() { head_.previous_ = nullptr; }
    void add(T& member) {
        Linked<T>& link = member;
        link.previous_ = head_.previous_;
        link.next_ = &head_;
        head_.previous_->next_ = &link;
        head_.previous_ = &link;
    }
    /// `visit` must not unlink other members than the one it is given.
    template <class Visit>
    void each(Visit visit) {
        for (Linked<T>* link = head_.next_; link != &head_;) {
            Linked<T>* next = link->next_;
            visit(static_cast<T&>(*link));
            link = next;
        }
    }
    [[nodiscard]] bool empty() const { return head_.next_ == &head_; }

private:
    Linked<T> head_;
};

}  // namespace plimsoll::proxy
