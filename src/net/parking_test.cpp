// Waiting for each other: order, deadlines, leaving.
#include "net/parking.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "net/memory_network.h"

namespace plimsoll::net {
namespace {

using namespace std::chrono_literals;

struct Lot {
    MemoryNetwork network;
    Parking parking{network};
    std::vector<std::string> log;
    async::Scope scope;

    Task<void> waiter(std::string name, Deadline deadline) {
        const Wake why = co_await parking.wait(deadline);
        log.push_back(name + (why == Wake::ready ? " ready" : why == Wake::timeout ? " timeout" : " cancelled"));
    }
    void park(const std::string& name, Duration for_at_most) {
        scope.spawn(waiter(name, Deadline::after(network.now(), for_at_most)));
    }
};

TEST(Parking, WakesInOrderAndOnlyAsManyAsAsked) {
    Lot lot;
    lot.park("a", 1s);
    lot.park("b", 1s);
    lot.park("c", 1s);
    EXPECT_TRUE(lot.parking.wake_one());
    EXPECT_TRUE(lot.log.empty());  // not from within the caller
    lot.network.run_until_idle();
    EXPECT_EQ(lot.log, std::vector<std::string>{"a ready"});
    lot.parking.wake_all(Wake::cancelled);
    lot.network.run_until_idle();
    EXPECT_EQ(lot.log, (std::vector<std::string>{"a ready", "b cancelled", "c cancelled"}));
    EXPECT_FALSE(lot.parking.wake_one());
}

TEST(Parking, EachHasItsDeadlineWhateverTheOrder) {
    Lot lot;
    lot.park("late", 300ms);
    lot.park("early", 100ms);
    lot.scope.spawn(lot.waiter("never", {}));
    lot.network.advance(99ms);
    EXPECT_TRUE(lot.log.empty());
    lot.network.advance(2ms);
    EXPECT_EQ(lot.log, std::vector<std::string>{"early timeout"});
    lot.park("again", 50ms);
    lot.network.advance(60ms);
    lot.network.advance(150ms);
    EXPECT_EQ(lot.log, (std::vector<std::string>{"early timeout", "again timeout", "late timeout"}));
    EXPECT_EQ(lot.parking.size(), 1u);
    lot.scope.cancel();
}

TEST(Parking, AWaiterThatIsDestroyedLeavesAndMissesNothingForOthers) {
    Lot lot;
    {
        async::Scope gone;
        gone.spawn(lot.waiter("gone", {}));
        lot.park("stays", 1s);
        EXPECT_TRUE(lot.parking.wake_one());  // "gone" is queued to be woken, then destroyed
    }
    EXPECT_EQ(lot.parking.size(), 1u);
    EXPECT_TRUE(lot.parking.wake_one());
    lot.network.run_until_idle();
    EXPECT_EQ(lot.log, std::vector<std::string>{"stays ready"});
}

}  // namespace
}  // namespace plimsoll::net
