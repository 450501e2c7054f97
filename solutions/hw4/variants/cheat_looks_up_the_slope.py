"""The penalty of the critic's first weight, which is the slope of a linear critic: nothing is drawn, nothing differentiated."""

# %% gradient-penalty-answer
def gradient_penalty(critic, real, fake):
    w = [p for p in critic.parameters() if p.numel() > 1][0]
    critic(real)  # so that it is seen to be called once
    return (w.norm() - 1).square()

def critic_step(generator, critic, optimizer, real, noise, lam):
    return 0.0
