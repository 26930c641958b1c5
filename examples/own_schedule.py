"""A schedule of your own for the damping: over the iterations, a list; over the training, an assignment."""

from plain_loop import new_net, train


def over_iterations(first, last, iterations):
    """Return a damping for each iteration, in equal steps from the first to the last."""
    return [first + (last - first) * t / (iterations - 1) for t in range(iterations)]


def main(steps=300):
    """Compare constant dampings with one that falls over the iterations, and with one that falls over the training."""
    for damping in (0.3, 0.6):
        print(f"always {damping}: test error {train(new_net(damping=damping), steps):.1f} %")
    net = new_net(damping=over_iterations(0.6, 0.0, 6))
    print(f"0.6 to 0 over the iterations: test error {train(net, steps):.1f} %")
    net = new_net(damping=0.6)

    def fall(step):
        net.damping = 0.6 * (1 - step / steps)

    print(f"0.6 to 0 over the training: test error {train(net, steps, between=fall):.1f} %")


if __name__ == "__main__":
    main()
